#include "actors/key_book.hpp"

#include "transfer/sha256.hpp"

namespace skep::actors {
namespace {

void deliver(std::uint64_t id, key_book::promise& p, const result<std::string>& r) {
  p.deliver(r ? reply_frame{protocol_version, id, {}, {*r}}
              : reply_frame{protocol_version, id, r.err(), {}});
}

std::string name_of(std::uint32_t command) {
  switch (command) {
#define SKEP_NAME(number, request, reply, text)                                                    \
  case number:                                                                                     \
    return text;
    SKEP_COMMANDS(SKEP_NAME)
#undef SKEP_NAME
  default:
    return {};
  }
}

} // namespace

key_book::answer key_book::admit(const request_frame& f, promise p) {
  if (f.key.empty()) return enter("u" + std::to_string(++unnamed_), f, std::move(p), {});
  auto refuse = [&](error why) {
    deliver(f.id, p, why);
    return answer{};
  };
  if (auto bad = check_key(f.key)) return refuse(bad);
  auto fingerprint = transfer::sha256_of(f.body.data);
  if (auto [command, known, reply] = known_(f.key); !command.empty()) {
    if (command != name_of(f.command) || known != fingerprint)
      return refuse(make_error(errc::key_reused, f.key));
    if (!undone_ || !undone_(f, reply)) {
      deliver(f.id, p, reply);
      return {};
    }
  }
  if (auto i = open_.find("k" + f.key); i != open_.end()) {
    if (i->second.command != f.command || i->second.fingerprint != fingerprint)
      return refuse(make_error(errc::key_reused, f.key));
    i->second.requests.emplace_back(f.id, std::move(p));
    return {};
  }
  return enter("k" + f.key, f, std::move(p), std::move(fingerprint));
}

key_book::answer key_book::enter(const std::string& name, const request_frame& f, promise p,
                                 std::string fingerprint) {
  open_[name] = {f.command, std::move(fingerprint), {{f.id, std::move(p)}}};
  return [this, name](result<std::string> r) {
    auto node = open_.extract(name);
    if (node.empty()) return;
    for (auto& [id, waiter] : node.mapped().requests)
      deliver(id, waiter, r);
  };
}

void key_book::refuse_all(const error& why) {
  for (auto& [name, entry] : std::exchange(open_, {}))
    for (auto& [id, waiter] : entry.requests)
      deliver(id, waiter, why);
}

command_accepted key_book::acceptance(const request_frame& f, std::string reply, utc_time now) {
  return {f.key,
          name_of(f.command),
          transfer::sha256_of(f.body.data),
          {std::move(reply)},
          now + key_life};
}

} // namespace skep::actors
