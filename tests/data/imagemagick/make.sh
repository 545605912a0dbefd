#!/usr/bin/env bash
# Write files.zip: small images as ImageMagick writes them, here version 6.9.11.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$(mktemp -d)"
convert -seed 3 -size 17x11 plasma:red-blue colour.miff
convert -size 17x11 gradient:black-white -depth 16 grey.miff
convert colour.miff -alpha set -channel A -evaluate set 50% clear.miff
mkdir files

save() {  # save NAME PICTURE OPTIONS... [FORMAT:]: the picture as files/NAME, whose suffix is its format
    local name=$1 picture=$2 format=
    shift 2
    if [[ "${*: -1}" == *: ]]; then
        format=${*: -1}
        set -- "${@:1:$#-1}"
    fi
    convert "$picture.miff" "$@" "${format}files/$name"
}

save "version 3.bmp" colour BMP3:
save "version 2.bmp" colour BMP2:
save "palette of 200.bmp" colour -colors 200 -type palette -compress none BMP3:
save "palette of 12.bmp" colour -colors 12 -type palette BMP3:
save "palette of version 2.bmp" colour -colors 16 BMP2:
save "black and white.bmp" colour -monochrome BMP3:
save "RLE.bmp" colour -colors 200 -type palette -compress RLE BMP3:
save "grey.bmp" colour -colorspace gray BMP3:
save "alpha.bmp" clear
save "5 6 5.bmp" colour -define bmp:subtype=RGB565
save "5 5 5.bmp" colour -define bmp:subtype=RGB555
save "1 5 5 5.bmp" clear -define bmp:subtype=ARGB1555
save "4 4 4 4.bmp" clear -define bmp:subtype=ARGB4444

for kind in PNG8 PNG24 PNG32 PNG00 PNG64; do
    save "colour by $kind.png" colour $kind:
    save "alpha by $kind.png" clear $kind:
done
save "colour by PNG48.png" colour PNG48:
save "key of 16 bits.png" clear PNG48:
save "interlaced.png" colour -interlace PNG
save "black and white.png" colour -monochrome
save "grey of 2 bits.png" colour -colorspace gray -depth 2
save "grey of 4 bits.png" colour -colorspace gray -depth 4
save "grey of 16 bits.png" grey
save "grey with alpha.png" clear -colorspace gray
save "linear grey.png" colour -colorspace LinearGray
save "gamma.png" colour -gamma 1.0 -set gamma 0.45 -set comment text
save "density.png" colour -units PixelsPerInch -density 72
save "turned.png" colour -orient RightTop
save "one clear colour.png" colour -depth 8 -transparent "$(convert colour.miff -format '%[pixel:p{3,3}]' info:)" PNG24:

for factor in 1x1 2x1 1x2 2x2 4x1 4x2; do
    save "sampled $factor.jpg" colour -sampling-factor $factor -quality 80
done
save "progressive.jpg" colour -interlace JPEG
save "CMYK.jpg" colour -colorspace CMYK
save "CMYK, progressive.jpg" colour -colorspace CMYK -interlace JPEG
save "grey.jpg" colour -colorspace gray
save "best.jpg" colour -quality 100
save "worst.jpg" colour -quality 5
save "linear.jpg" colour -colorspace RGB
save "turned.jpg" colour -define jpeg:optimize-coding=true -orient LeftBottom
save "comment.jpg" colour -comment text

save "of 1987.gif" colour GIF87:
save "interlaced.gif" colour -interlace GIF
save "alpha.gif" clear
save "animated.gif" colour -delay 5 \( +clone -flop \)
save "away from the corner.gif" colour -dispose background -repage +2+3
save "on a page.gif" colour -repage 50x40+5+7
save "black and white.gif" colour -monochrome

save "coarse.webp" colour
save "exact.webp" colour -define webp:lossless=true
save "alpha, coarse.webp" clear
save "alpha, exact.webp" clear -define webp:lossless=true
save "nearly exact.webp" colour -define webp:near-lossless=40
save "turned.webp" colour -orient RightTop
save "animated.webp" colour -delay 5 \( +clone -flop \)

rm -f "$here/files.zip"
cd files
touch -d 1980-01-01 -- *
zip -9 -X -q "$here/files.zip" -- *
