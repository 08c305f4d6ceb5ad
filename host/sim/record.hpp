// The simulator's own record: JSON lines, appended as things happen. What a program under test says
// about its sandboxes is judged by this, never the other way round.
//
//   {"event":"start","seed":7,"t_ms":...}
//   {"event":"create","n":1,"sandbox":"i..","template":"base","metadata":{..},"timeout_ms":120000,
//    "foreign":false,"t_ms":..}
//   {"event":"lease","sandbox":"i..","asked_ms":3600000,"extend":false,"t_ms":..}
//   {"event":"kill","sandbox":"i..","why":"request|lease|died|end","metadata":{..},"t_ms":..}
//   {"event":"fault","kind":"lost_reply","on":"create","sandbox":"i.."?,"n":1,"t_ms":..}
//   {"event":"pause"|"resume","sandbox":"i..","t_ms":..}
//   {"event":"restart","t_ms":..}
//
// `t_ms` (wall time) is the last field of every line and the only one that a second run with the
// same seed and the same requests may have different.
#pragma once

#include "host/posix.hpp"
#include "host/spec.hpp"

#include <string>

namespace skep::host::sim {

class record {
public:
  /// An empty path: nothing is written.
  static result<record> open(const std::string& path);
  void write(json line);

private:
  unique_fd file_;
};

} // namespace skep::host::sim
