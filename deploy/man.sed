# Mends man pages that the argument parser makes, for man-db and groff: a name without blanks in NAME, the command as it
# is typed in SYNOPSIS, no empty lines.
/^$/s//.Pp/
/^\.Nm "/{
h
s/"//g
s/ /-/g
s/-/ /
}
/^\.Nm$/{
G
s/^\.Nm\n\(..*\)$/\1/
s/\n$//
}
