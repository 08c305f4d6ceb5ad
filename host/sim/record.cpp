#include "host/sim/record.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace skep::host::sim {

result<record> record::open(const std::string& path) {
  record out;
  if (path.empty()) return out;
  out.file_ = unique_fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  if (!out.file_) return make_error(errc::io, path, std::strerror(errno));
  return out;
}

void record::write(json line) {
  if (!file_) return;
  line["t_ms"] = wall_now_ms();
  auto text = dump(line) + "\n";
  // One write a line: O_APPEND keeps it whole.
  if (::write(file_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    std::fprintf(stderr, "skep-host: the simulator's record: %s\n", std::strerror(errno));
}

} // namespace skep::host::sim
