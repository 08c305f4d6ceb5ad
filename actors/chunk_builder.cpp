#include "actors/chunk_builder.hpp"

#include "actors/answer.hpp"

#include <algorithm>
#include <cassert>

namespace skep::actors {

namespace {

// The type number of a packed event [type, at_ms, body]: it stands behind the one byte of the
// array's header. Read by hand, since this runs for every event; 0 when the bytes are not an event.
std::uint32_t type_of(const std::string& packed) {
  auto at = [&](std::size_t i) {
    return i < packed.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(packed[i]))
                             : 0u;
  };
  const auto head = at(1);
  if (head < 0x80) return head;                // positive fixint
  if (head == 0xcc) return at(2);              // uint 8
  if (head == 0xcd) return at(2) << 8 | at(3); // uint 16
  return 0;
}

// Anything unknown counts as a fact, which is the careful side.
bool is_fact(const std::string& packed) {
  const auto* known = find_event(type_of(packed));
  return !known || known->kind == event_class::fact;
}

// The journal looked at the chunk and found it wrong; other errors are not about its content.
bool is_refusal(const error& e) {
  switch (info(e.code).family) {
  case error_family::invalid:
  case error_family::missing:
  case error_family::conflict:
    return true;
  case error_family::limit: // a nearly full disk takes facts and refuses notes
    return e.code == errc::disk_full;
  default:
    return false;
  }
}

} // namespace

chunk_builder::chunk_builder(host h, swarm_id swarm, sandbox_id sandbox, chunk_limits limits)
    : host_(std::move(h)), swarm_(std::move(swarm)), sandbox_(std::move(sandbox)), limits_(limits),
      self_(std::make_shared<chunk_builder*>(this)) {}

chunk_builder::~chunk_builder() {
  on_lost = nullptr;
  abandon(make_error(errc::shutting_down));
  *self_ = nullptr;
  if (host_.credit) host_.credit->give_back(credit_held_);
}

bool chunk_builder::add(packed_event e) {
  const bool fact = is_fact(e.bytes);
  if (!fact && backlog_bytes_ + e.bytes.size() > limits_.backlog_bytes) {
    ++dropped_;
    ++dropped_total_;
    return false;
  }
  auto& b = room_for(e.bytes.size());
  b.has_fact = b.has_fact || fact;
  put(b, std::move(e), {});
  send();
  return true;
}

void chunk_builder::add(packed_event e, waiter w) {
  const bool fact = is_fact(e.bytes);
  auto& b = room_for(e.bytes.size());
  b.has_fact = b.has_fact || fact;
  put(b, std::move(e), std::move(w));
  b.due = true;
  send();
}

void chunk_builder::add(packed_event e, caf::typed_response_promise<std::uint64_t> w) {
  add(std::move(e), [w](result<std::uint64_t> r) { answer(w, r); });
}

void chunk_builder::add_all(std::vector<packed_event> events, waiter w) {
  assert(!events.empty());
  // A chunk of its own: what stands together must not be taken apart by a neighbour's mistake.
  if (!queue_.empty()) queue_.back().due = queue_.back().sealed = true;
  auto& b = queue_.emplace_back();
  for (std::size_t i = 0; i < events.size(); ++i)
    put(b, std::move(events[i]), i + 1 == events.size() ? std::move(w) : waiter{});
  b.due = b.sealed = true; // has_fact stays false: refused as a whole, never split
  send();
}

void chunk_builder::add_all(std::vector<packed_event> events,
                            caf::typed_response_promise<std::uint64_t> w) {
  add_all(std::move(events), [w](result<std::uint64_t> r) { answer(w, r); });
}

chunk_builder::building& chunk_builder::room_for(std::size_t size_bytes) {
  if (!queue_.empty()) {
    auto& b = queue_.back();
    if (!b.sealed && b.count() < limits_.events && b.body.size() + size_bytes <= limits_.size_bytes)
      return b;
    b.due = b.sealed = true;
  }
  return queue_.emplace_back();
}

void chunk_builder::put(building& b, packed_event e, waiter w) {
  backlog_bytes_ += e.bytes.size();
  b.body += e.bytes;
  b.ends.push_back(static_cast<std::uint32_t>(b.body.size()));
  if (w) b.waiters.emplace_back(b.count() - 1, std::move(w));
  if (b.count() >= limits_.events || b.body.size() >= limits_.size_bytes) b.due = true;
}

void chunk_builder::on_timer(std::uint64_t token) {
  if (token == linger_timer_) {
    linger_timer_ = 0;
    flush();
  } else if (token == credit_timer_) {
    credit_timer_ = 0;
    send();
  }
}

void chunk_builder::flush() {
  for (auto& b : queue_)
    b.due = true;
  send();
}

void chunk_builder::arm_linger() {
  if (queue_.empty() || queue_.back().due || linger_timer_ != 0) return;
  linger_timer_ = next_token_++;
  host_.set_timer(limits_.linger, linger_timer_);
}

void chunk_builder::send() {
  if (sending_) return; // an answer came from within append(): the loop below goes on
  sending_ = true;
  auto owner = self_;
  while (can_send()) {
    send_front();
    if (!*owner) return;
  }
  sending_ = false;
  arm_linger();
}

bool chunk_builder::can_send() {
  if (queue_.empty() || !queue_.front().due) return false;
  const auto& next = queue_.front();
  const bool lone_one_flies = !flying_.empty() && flying_.begin()->second.alone();
  if (lone_one_flies || (next.alone() && !flying_.empty())
      || flying_.size() >= std::max(limits_.outstanding, 1u))
    return false; // an answer will come and call again
  if (!host_.credit) return true;
  if (host_.credit->take(next.body.size(), !next.waiters.empty())) {
    credit_held_ += next.body.size();
    return true;
  }
  if (credit_timer_ == 0) {
    credit_timer_ = next_token_++;
    host_.set_timer(limits_.credit_retry, credit_timer_);
  }
  return false;
}

void chunk_builder::send_front() {
  const auto id = next_id_++;
  auto& b = flying_.emplace(id, std::move(queue_.front())).first->second;
  queue_.pop_front();
  backlog_bytes_ -= b.body.size();
  auto c = std::make_shared<chunk>();
  c->swarm = swarm_;
  c->sandbox = sandbox_;
  c->count = b.count();
  // The bytes are kept here only where they may have to be sent again.
  const auto size = b.body.size();
  if (b.alone())
    c->body.data = b.body;
  else
    c->body.data = std::move(b.body);
  host_.append(std::move(c), [owner = self_, id, size](result<std::uint64_t> r) {
    if (!*owner) return; // its destructor settled everything
    (*owner)->give_back(size);
    (*owner)->answered(id, r);
  });
}

void chunk_builder::give_back(std::size_t size_bytes) {
  if (!host_.credit) return;
  credit_held_ -= size_bytes;
  host_.credit->give_back(size_bytes);
}

void chunk_builder::answered(std::uint64_t id, const result<std::uint64_t>& r) {
  auto i = flying_.find(id);
  if (i == flying_.end()) return; // abandoned
  auto b = std::move(i->second);
  flying_.erase(i);
  if (!r && b.alone() && is_refusal(r.err())) {
    split(std::move(b));
    return send();
  }
  // Whoever is answered may add events here, or let go of the builder.
  auto owner = self_;
  if (!r && on_lost) on_lost(b.count(), r.err());
  for (auto& [index, call] : b.waiters)
    call(r ? result<std::uint64_t>{*r + index} : result<std::uint64_t>{r.err()});
  if (!*owner) return;
  say_dropped();
  send();
  if (idle() && on_idle) on_idle();
}

void chunk_builder::split(building b) {
  backlog_bytes_ += b.body.size();
  for (auto i = b.count(); i-- > 0;) {
    const auto from = i == 0 ? 0 : b.ends[i - 1];
    building one;
    one.body = b.body.substr(from, b.ends[i] - from);
    one.ends = {static_cast<std::uint32_t>(one.body.size())};
    one.has_fact = one.due = one.sealed = true;
    for (auto& [index, call] : b.waiters)
      if (index == i) one.waiters.emplace_back(0, std::move(call));
    queue_.push_front(std::move(one));
  }
}

void chunk_builder::say_dropped() {
  if (dropped_ == 0 || backlog_bytes_ > limits_.backlog_bytes / 2) return;
  const auto n = std::exchange(dropped_, 0);
  note(notice{severity::warning, "notes_dropped",
              std::to_string(n) + " notes were not stored: the journal was too slow"});
}

void chunk_builder::abandon(const error& why) {
  auto queue = std::exchange(queue_, {});
  auto flying = std::exchange(flying_, {});
  backlog_bytes_ = 0;
  linger_timer_ = credit_timer_ = 0;
  auto tell = [&](building& b) {
    if (on_lost) on_lost(b.count(), why);
    for (auto& [index, call] : b.waiters)
      call(why);
  };
  for (auto& [id, b] : flying)
    tell(b);
  for (auto& b : queue)
    tell(b);
}

} // namespace skep::actors
