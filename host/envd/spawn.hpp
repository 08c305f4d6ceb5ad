// Starting one process: fork, descriptors, environment, exec.
#pragma once

#include "messages/error.hpp"

#include <string>
#include <sys/types.h>
#include <vector>

namespace skep::envd {

struct terminal_size {
  unsigned short columns = 80;
  unsigned short rows = 24;
};

struct spawn_request {
  std::string program; ///< Looked up in the PATH of `environment` when it has no slash.
  std::vector<std::string> arguments;
  std::vector<std::string> environment; ///< NAME=VALUE
  std::string directory;                ///< Absolute.
  bool terminal = false;                ///< A new pseudo terminal instead of pipes.
  terminal_size size;
  bool stdin_pipe = true; ///< Otherwise /dev/null.
};

/// Our ends, non-blocking and close-on-exec; -1 where there is none.
struct spawned {
  pid_t pid = -1;
  int input = -1;
  int output = -1;
  int errors = -1;
  int terminal = -1;
};

/// Starts the process in a session of its own. A program that cannot be executed is no error here:
/// the child says so on its stderr and exits with 127 (missing) or 126. Only for single-threaded
/// programs.
result<spawned> spawn(const spawn_request& request);

/// Sets the size of the terminal behind `fd`.
bool resize_terminal(int fd, terminal_size size);

} // namespace skep::envd
