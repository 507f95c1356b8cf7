#!/bin/sh
# Makes sample.mp4: 8 s, 640x360 at 30 fps, H.264 baseline with a key frame every second, mono AAC
# at 48 kHz (375 frames, so that both tracks end together and the file loops without a seam), a
# running clock in the picture and a beep each second. Needs ffmpeg and the DejaVu fonts.
set -eu
cd "$(dirname "$0")"
font=${FONT:-/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf}
ffmpeg -hide_banner -loglevel error -y \
  -f lavfi -i "testsrc2=size=640x360:rate=30:duration=8" \
  -f lavfi -i "sine=frequency=440:beep_factor=2:sample_rate=48000:duration=8" \
  -vf "drawtext=fontfile=$font:fontsize=56:fontcolor=white:box=1:boxcolor=black@0.7:boxborderw=12:x=(w-tw)/2:y=(h-th)/2:text='%{pts\:hms}'" \
  -c:v libx264 -preset veryslow -profile:v baseline -level 3.0 -refs 1 -pix_fmt yuv420p \
  -g 30 -keyint_min 30 -sc_threshold 0 -b:v 300k -maxrate 400k -bufsize 400k \
  -c:a aac -b:a 48k -ac 1 -frames:a 375 \
  -map_metadata -1 -fflags +bitexact -flags +bitexact -movflags +faststart sample.mp4
