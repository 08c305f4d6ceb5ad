// Runs one program to its end: argv, never a shell; own process group; deadline.
#pragma once

#include "transfer/posix.hpp"

#include <atomic>
#include <optional>
#include <vector>

namespace skep::transfer {

/// What to run and with what. Descriptors stay the caller's.
struct program {
  std::vector<std::string> argv;                       ///< argv[0] is looked up in PATH.
  std::optional<std::vector<std::string>> environment; ///< "NAME=value"; none: the caller's own.
  std::string working_dir;                             ///< Empty: the caller's.
  std::string stdin_data;                              ///< Used when stdin_fd is -1.
  int stdin_fd = -1;
  int stdout_fd = -1;                        ///< -1: captured in `outcome::out`.
  std::size_t max_capture = 256u << 20;      ///< Bytes; more ends the program, errc::too_large.
  std::chrono::milliseconds limit{60000};    ///< Then the group is killed, errc::timed_out.
  const std::atomic<bool>* cancel = nullptr; ///< True: killed within 100 ms, errc::cancelled.
  bool outlives_us = false;                  ///< end_programs_with_this_process() leaves it out.
};

/// How it ended. Standard error is kept up to 64 KiB.
struct outcome {
  int exit_code = 0; ///< -1 when a signal ended it.
  int signal = 0;
  std::string out;
  std::string err;
  bool good() const { return exit_code == 0; }
};

/// From now on every program that this process starts with the functions below gets SIGTERM when
/// this process dies, however that happens: git then takes its locks away. The signal is tied to
/// the thread that started the program, which waits in here for as long as the program runs. It is
/// not handed on to what that program starts. For small programs, at their start: starting costs a
/// fork instead of a spawn.
void end_programs_with_this_process();

/// Runs `p` and waits. An exit code other than 0 is not an error of this function; a program that
/// cannot be started is errc::program_missing or errc::io. Thread-safe.
result<outcome> run_program(const program& p);

/// As run_program, but an exit code other than 0 is errc::io with the end of standard error as
/// cause.
result<std::string> run_for_output(const program& p);

/// First program of this name in PATH; empty when there is none. Relative folders do not count.
std::string in_path(const std::string& program);

/// The environment for git: the caller's without GIT_*, with C messages, no prompts and no
/// optional locks.
std::vector<std::string> git_environment();

} // namespace skep::transfer
