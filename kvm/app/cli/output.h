#pragma once

#include <cstdio>
#include <string_view>

namespace godwit::app {

/// Writes `text` and flushes. What cannot be written is dropped: a reader that went away is no
/// reason to leave a guest alone. finish_output() tells of it where the text was the result.
void print_to(std::FILE* stream, std::string_view text);

/// Prints "godwit: TEXT" to stderr, in one write.
void complain(std::string_view text);

/// Writes a line to stderr if that does not wait for a reader longer than `patience_ms`; else the line
/// is lost, and the next one that gets through says how many were. Thread: any.
void write_stderr(std::string_view line, int patience_ms);

/// The exit code of a command that has printed its result: `code`, unless it would claim success
/// for a result that stdout did not take.
int finish_output(int code);

}  // namespace godwit::app
