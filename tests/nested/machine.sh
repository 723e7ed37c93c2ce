# Sourced by run: the kernel, the initrd and the machine.

# Downloads Debian's cloud kernel and unpacks it; nothing of it is installed.
fetch_kernel() {
  if [ ! -e "$work/linux/complete" ]; then
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1 || true)
    [ -n "$package" ] || missing "apt knows no linux-image-cloud-amd64; run apt-get update as root"
    echo "nested: downloading $package" >&2
    rm -rf "$work/linux" "$work/download"
    mkdir "$work/linux" "$work/download"
    (cd "$work/download" && apt-get download -qq "$package" 2>"$work/download.log") ||
      missing "cannot download $package: $(tail -n 1 "$work/download.log")"
    dpkg-deb -x "$work/download"/*.deb "$work/linux"
    rm -rf "$work/download"
    version=$(basename "$work"/linux/lib/modules/*)
    depmod -b "$work/linux" "$version"
    touch "$work/linux/complete"
  fi
  version=$(basename "$work"/linux/lib/modules/*)
}

# Copies a program and the libraries that it needs, each to the place where the loader looks for it.
add_program() {
  local library
  mkdir -p "$tree$(dirname "$2")"
  strip -o "$tree$2" "$1"
  for library in $(ldd "$1" | grep -o '/[^ ]*'); do
    if [ ! -e "$tree$library" ]; then
      mkdir -p "$tree$(dirname "$library")"
      cp -L "$library" "$tree$library"
    fi
  done
}

# The initrd: busybox, the modules of kvm-amd in the order in which they load, our programs, the items.
make_initrd() {
  local module program
  tree=$run/tree
  mkdir -p "$tree"/{bin,dev,proc,sys,tmp,nested,modules}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  chmod 1777 "$tree/tmp" # not a mount: the build itself may lie below it
  cp "$here/guest/init" "$tree/init"
  for module in $(modprobe -d "$work/linux" -S "$version" --show-depends kvm-amd | sed -n 's/^insmod \([^ ]*\).*/\1/p'); do
    cp "$module" "$tree/modules/"
    echo "/modules/$(basename "$module")" >>"$tree/nested/modules"
  done
  # Programs stay where they are on the host, since tests hold the command's path.
  for program in "${programs[@]}"; do
    add_program "$program" "$program"
  done
  cp "$run/items" "$tree/nested/items"
  # Not compressed: unpacking would be emulated, too.
  (cd "$tree" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) >"$run/initrd"
  rm -rf "$tree"
}

# Runs the machine until it powers itself off, or until the sum of all limits has passed.
# tsc=reliable: the emulated counters are one, as those of real hardware are, but do not say so, and a KVM with an
# unstable counter changes the offsets of its guests at will.
boot_machine() {
  local limit=$((boot_limit + items_limit)) code=0
  : >"$run/results"
  timeout --foreground --kill-after=10 "$limit" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
    -accel tcg -cpu max -smp 2 -m "$memory_mib" \
    -kernel "$work/linux/boot/vmlinuz-$version" -initrd "$run/initrd" \
    -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off tsc=reliable" \
    -serial "file:$run/console" -serial "file:$run/results" 9>&- || code=$?
  if [ "$code" -eq 124 ]; then
    echo "nested: the machine did not end within $limit s and was stopped" >&2
  elif [ "$code" -ne 0 ]; then
    echo "nested: qemu-system-x86_64 ended with $code" >&2
  fi
}
