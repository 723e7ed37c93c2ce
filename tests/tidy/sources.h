#pragma once

#include "tree.h"

// Unit tests mirror the sources: tests/unit/net/sockets/listener_test.cc is net/src/sockets/listener.cc's.

namespace godwit::tidy {

/// Sources without a test of their name and without a line in table untested, and lines of that
/// table that are needless or name what is not there.
Problems untested_sources(const Tree& tree);
/// Unit tests in whose place there is neither a source nor a header of their name, and that table
/// untested does not have, as what covers a source or with a line of their own; and such lines that
/// are needless.
Problems tests_of_nothing(const Tree& tree);

}  // namespace godwit::tidy
