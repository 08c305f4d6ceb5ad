#include "tools/skep/upload_text.hpp"

#include "tools/skep/term.hpp"

#include <algorithm>

namespace skep::cli {

std::string upload_text(const transfer_progress& x) {
  std::string out = "upload: ";
  if (x.parts > 1)
    out += "part " + std::to_string(x.parts_done) + " of " + std::to_string(x.parts) + ", ";
  out += size_text(x.done_bytes) + " of " + size_text(x.size_bytes);
  if (x.elapsed_ms <= 0 || x.sent_bytes == 0) return out;
  auto per_s = static_cast<double>(x.sent_bytes) * 1000 / static_cast<double>(x.elapsed_ms);
  out += ", " + size_text(static_cast<std::uint64_t>(per_s)) + "/s";
  auto left_ms =
      static_cast<double>(x.size_bytes - std::min(x.size_bytes, x.done_bytes)) * 1000 / per_s;
  return left_ms < 1 ? out
                     : out + ", " + duration_text(static_cast<std::int64_t>(left_ms)) + " left";
}

} // namespace skep::cli
