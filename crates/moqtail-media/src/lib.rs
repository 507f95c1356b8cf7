//! fMP4/CMAF segmenting, MSF catalog; no network.
