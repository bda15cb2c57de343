"""From bytes to label maps: decode, detect, align, segment, paste back, encode. Knows no transport."""
