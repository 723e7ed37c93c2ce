#include <unistd.h>

#include <cerrno>
#include <memory>

#include "placing/memfd_placer.h"
#include "placing/placers.h"

namespace godwit::uffd {
namespace {

Status write_all(int fd, const std::byte* bytes, std::uint64_t size, std::uint64_t offset) {
  while (size > 0) {
    const auto done = ::pwrite(fd, bytes, size, static_cast<off_t>(offset));
    if (done < 0) {
      if (errno == EINTR) {
        continue;
      }
      return fail_errno(errno == ENOSPC ? ENOMEM : errno, "pwrite", "guest memory");
    }
    bytes += done;
    size -= static_cast<std::uint64_t>(done);
    offset += static_cast<std::uint64_t>(done);
  }
  return {};
}

class PwritePlacer final : public MemfdPlacer {
 public:
  using MemfdPlacer::MemfdPlacer;
  [[nodiscard]] const char* name() const override { return "pwrite"; }

 protected:
  Status write(const engine::MemoryRegion& region,
               std::uint64_t at,
               const std::byte* bytes,
               std::uint64_t size) override {
    return write_all(region.fd, bytes, size, region.offset + at);
  }
};

}  // namespace

std::unique_ptr<engine::PagePlacer> make_pwrite_placer(const engine::GuestMemory& memory) {
  return std::make_unique<PwritePlacer>(memory);
}

}  // namespace godwit::uffd
