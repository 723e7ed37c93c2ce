#pragma once

#include "tree.h"

// Who includes whom.

namespace godwit::tidy {

/// Public headers of a layer that the includer's layer must not know (table layers).
Problems wrong_arrows(const Tree& tree);
/// Quoted includes that are found neither beside their file nor where private_headers says.
Problems headers_out_of_reach(const Tree& tree);
/// Sources that include something before the header of their own name: as the first one, it is
/// compiled alone.
Problems own_headers_late(const Tree& tree);
/// Rooms of a folder that include one another against their order, and rooms that table rooms does
/// not have or has in vain.
Problems wrong_rooms(const Tree& tree);
/// Headers of kernel and libraries outside of their homes, and homes that have none (table homes).
Problems wrong_homes(const Tree& tree);

}  // namespace godwit::tidy
