#include "cli/advice.h"

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

namespace godwit::app {
namespace {

/// Fields of vmm::GuestConfig, as vmm::validate() names them, and the options that set them.
struct FieldOption {
  std::string_view field;
  std::string_view option;
};
constexpr FieldOption kFieldOptions[] = {{"memory_bytes", "--memory"},
                                         {"populated_bytes", "--populated"},
                                         {"working_set_bytes", "--working-set"},
                                         {"vcpus", "--vcpus"}};

std::string with_options(std::string text) {
  for (const auto& [field, option] : kFieldOptions) {
    if (const auto at = text.find(field); at != std::string::npos) {
      text.replace(at, field.size(), option);
    }
  }
  return text;
}

/// `operation` is said in `detail` then.
Error said_in_detail(Error error, std::string detail) {
  error.operation = "";
  error.detail = std::move(detail);
  return error;
}

}  // namespace

Error advised(Error error) {
  const std::string_view operation = error.operation;
  for (const auto& [field, option] : kFieldOptions) {
    if (operation == field) {
      return said_in_detail(error, std::string(option) + " is " + with_options(error.detail));
    }
  }
  if (operation == "dirty source") {
    const bool of_host = error.code != ErrorCode::kInvalidArgument;
    return said_in_detail(error,
                          "--dirty-source " + error.detail +
                              (of_host ? "; --dirty-source auto takes what is possible" : ""));
  }
  if (operation == "open /dev/kvm" || operation == "KVM_CHECK_EXTENSION") {
    error.detail += "; or use --guest process";
  }
  if (operation == "connect" && (error.sys_errno == ECONNREFUSED || error.sys_errno == ENOENT)) {
    error.detail += "; start `godwit receive` there, or check the address";
  }
  return error;
}

}  // namespace godwit::app
