# Sourced by perf/demo and tests/run: makes sure that the Debian packages godwit builds with are installed.

godwit_packages=(g++ cmake ninja-build pkg-config liburing-dev libfmt-dev libboost-dev libmimalloc-dev libgtest-dev
  libgmock-dev libexpected-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libxxhash-dev libbenchmark-dev)

# install_packages [PACKAGE...]: those, or what godwit builds with.
install_packages() {
  [ $# -gt 0 ] || set -- "${godwit_packages[@]}"
  local missing=() package
  for package; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed'; then
      missing+=("$package")
    fi
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      echo "missing Debian packages: ${missing[*]}; install them (apt-get install ${missing[*]})" >&2
      return 3
    fi
    root=(sudo)
  fi
  echo "installing: ${missing[*]}" >&2
  "${root[@]}" apt-get update -qq >&2 &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}
