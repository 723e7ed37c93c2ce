#include "godwit/base/log.h"

#include <spdlog/spdlog.h>

namespace godwit {

void log_line(LogLevel level, std::string_view line) {
  const auto logger = spdlog::get("godwit");
  if (!logger) {
    return;
  }
  switch (level) {
    case LogLevel::kDebug:
      logger->debug(line);
      break;
    case LogLevel::kInfo:
      logger->info(line);
      break;
    case LogLevel::kWarn:
      logger->warn(line);
      break;
    case LogLevel::kError:
      logger->error(line);
      break;
  }
}

}  // namespace godwit
