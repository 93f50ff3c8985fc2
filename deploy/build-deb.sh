#!/bin/sh
# Makes the Debian package of a release binary: build-deb.sh BINARY MAN-PAGES OUTPUT. The version is the binary's own,
# the revision $REVISION (1), the date the last commit's. Needs debhelper. Prints the package's path.
set -eu
binary=$(readlink -f "$1") pages=$(readlink -f "$2") output=$3
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$output"
output=$(cd "$output" && pwd)
stage=$(mktemp -d "$output/stage.XXXXXX")
trap 'rm -rf "$stage"' EXIT
version=$("$binary" --version)-${REVISION:-1}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

source=$stage/viaduct
mkdir -p "$source/man" "$source/completions" "$source/etc"
cp -a "$root/deploy/debian" "$source/debian"
cp "$binary" "$source/viaduct"
cp "$pages"/*.1 "$source/man"
cp "$root/README.md" "$root/SECURITY.md" "$root/deploy/systemd/namespaces.conf" "$source"
cp "$root"/deploy/etc/*.json "$source/etc"
cp -a "$root/openapi" "$root/deploy/examples" "$root/deploy/prometheus" "$source"
for unit in agent controller; do
    cp "$root/deploy/systemd/viaduct-$unit.service" "$source/debian/viaduct.viaduct-$unit.service"
done
cp "$root/deploy/systemd/viaduct.sysusers" "$root/deploy/systemd/viaduct.tmpfiles" "$source/debian"
complete() { "$binary" --generate-completion-script "$1" >"$source/completions/$1/$2"; }
mkdir "$source/completions/bash" "$source/completions/zsh" "$source/completions/fish"
complete bash viaduct
sed -i '1{/^#!/d}' "$source/completions/bash/viaduct"
complete zsh _viaduct
complete fish viaduct.fish
cat >"$source/debian/changelog" <<END
viaduct ($version) unstable; urgency=medium

  * Built from the sources; their history says what has changed.

 -- Viaduct maintainers <viaduct@localhost.localdomain>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
END
(cd "$source" && dpkg-buildpackage -b -uc -us) >"$output/build.log" 2>&1 || { cat "$output/build.log" >&2; exit 1; }
mv "$stage"/*.deb "$output"
echo "$output/viaduct_${version}_$(dpkg --print-architecture).deb"
