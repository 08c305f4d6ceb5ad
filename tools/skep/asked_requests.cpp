#include "tools/skep/asked_requests.hpp"

#include "messages/json.hpp"
#include "transfer/posix.hpp"

namespace skep::cli {

result<asked_requests> asked_requests::read(const std::string& folder) {
  asked_requests out;
  out.file_ = folder + "/requests.json";
  auto text = transfer::read_file(out.file_);
  if (!text && text.err().code == errc::file_not_found) return out;
  if (!text) return text.err();
  auto j = json::parse(*text, nullptr, false);
  if (!j.is_object() || !j.contains("requests") || !from_json_value(j["requests"], out.all_))
    return make_error(errc::results_changed,
                      out.file_ + " is damaged; without it the forge is asked again");
  return out;
}

const asked_request* asked_requests::find(const asked_request& x) const {
  for (const auto& known : all_)
    if (known.same(x)) return &known;
  return nullptr;
}

result<void> asked_requests::keep(const asked_request& x) {
  std::erase_if(all_, [&](const auto& known) { return known.same(x); });
  all_.push_back(x);
  json j{{"version", 1}, {"requests", to_json_value(all_)}};
  return transfer::write_file_durably(file_, to_line(j) + "\n", 0600);
}

} // namespace skep::cli
