#include <array>

#include "fuzz_target.h"

namespace godwit::fuzz {

std::span<const Target> targets() {
  static constexpr std::array<Target, 7> kTargets{{
      {"frame_stream", run_frame_stream, frame_stream_seeds},
      {"message", run_message, message_seeds},
      {"page_batch", run_page_batch, page_batch_seeds},
      {"negotiation", run_negotiation, negotiation_seeds},
      {"guest_config", run_guest_config, guest_config_seeds},
      {"control_line", run_control_line, control_line_seeds},
      {"command_line", run_command_line, command_line_seeds},
  }};
  return kTargets;
}

}  // namespace godwit::fuzz
