//! A data stream's head and objects under arbitrary chunking.

#![no_main]

// An object of two bytes is a header and a payload of 100 in memory, in each of two lists that are compared.
moqtail_fuzz::parser!(256, moqtail::fuzzing::data_stream);
