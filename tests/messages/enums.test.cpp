// Every enumeration that travels or is stored: which number has which text. A line of these tables
// never changes; a new value gets a new line at the end of its table.
#include "messages/codec.hpp"
#include "messages/follow.hpp"
#include "messages/json.hpp"
#include "tests/support/catch.hpp"

#include <set>

using namespace skep;

namespace {

template <class E>
struct row {
  E value;
  std::uint32_t number;
  std::string_view text;
};

template <class E>
msgpack::object packed_number(std::uint64_t n) {
  msgpack::object o;
  o.type = msgpack::type::POSITIVE_INTEGER;
  o.via.u64 = n;
  return o;
}

/// The table is the whole truth about E: number and text both ways, in msgpack and in JSON.
template <class E>
void check_table(std::initializer_list<row<E>> table) {
  REQUIRE(enum_size<E> == table.size());
  std::set<std::string_view> texts;
  std::uint32_t next = 0;
  for (const auto& r : table) {
    INFO(r.text);
    CHECK(r.number == next++);
    CHECK(static_cast<std::uint32_t>(r.value) == r.number);
    CHECK(to_string(r.value) == r.text);
    CHECK(texts.insert(r.text).second);

    const auto other = static_cast<E>((r.number + 1) % enum_size<E>);
    auto found = other;
    CHECK(from_string(r.text, found));
    CHECK(found == r.value);

    std::string wire;
    string_sink sink{wire};
    packer p{sink};
    pack_value(p, r.value);
    CHECK(wire == std::string(1, static_cast<char>(r.number)));
    auto unpacked = other;
    CHECK(unpack_value(packed_number<E>(r.number), unpacked));
    CHECK(unpacked == r.value);

    CHECK(to_json_value(r.value) == json(std::string{r.text}));
    auto parsed = other;
    CHECK(from_json_value(json(std::string{r.text}), parsed));
    CHECK(parsed == r.value);
  }
}

/// What is not in the table is refused and leaves the value as it was.
template <class E>
void check_strangers() {
  constexpr auto last = static_cast<E>(enum_size<E> - 1);
  for (std::uint64_t n : {std::uint64_t{enum_size<E>}, std::uint64_t{255}, std::uint64_t{256},
                          std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    INFO(n);
    auto x = last;
    CHECK_FALSE(unpack_value(packed_number<E>(n), x));
    CHECK(x == last);
  }
  msgpack::object negative;
  negative.type = msgpack::type::NEGATIVE_INTEGER;
  negative.via.i64 = -1;
  auto x = last;
  CHECK_FALSE(unpack_value(negative, x));
  CHECK_FALSE(unpack_value(msgpack::object{}, x));

  const std::string name{to_string(last)};
  for (const auto& text :
       {std::string{}, std::string{"?"}, std::string{"nonsense"}, name + " ", " " + name,
        name + std::string(1, '\0'), "X" + name.substr(1), name.substr(0, name.size() - 1)}) {
    INFO(text);
    CHECK_FALSE(from_string(text, x));
    CHECK_FALSE(from_json_value(json(text), x));
  }
  CHECK_FALSE(from_json_value(json(0), x));
  CHECK_FALSE(from_json_value(json(nullptr), x));
  CHECK(x == last);
  CHECK(to_string(static_cast<E>(enum_size<E>)) == "?");
}

template <class E>
void check_enum(std::initializer_list<row<E>> table) {
  check_table<E>(table);
  check_strangers<E>();
}

} // namespace

TEST_CASE("phases of a sandbox have these numbers and names") {
  check_enum<phase>({{phase::queued, 0, "queued"},
                     {phase::creating, 1, "creating"},
                     {phase::verifying, 2, "verifying"},
                     {phase::provisioning, 3, "provisioning"},
                     {phase::uploading, 4, "uploading"},
                     {phase::starting, 5, "starting"},
                     {phase::running, 6, "running"},
                     {phase::draining, 7, "draining"},
                     {phase::collecting, 8, "collecting"},
                     {phase::closed, 9, "closed"}});
}

TEST_CASE("phases of a pane have these numbers and names") {
  check_enum<pane_phase>({{pane_phase::queued, 0, "queued"},
                          {pane_phase::starting, 1, "starting"},
                          {pane_phase::running, 2, "running"},
                          {pane_phase::restarting, 3, "restarting"},
                          {pane_phase::exited, 4, "exited"},
                          {pane_phase::closed, 5, "closed"}});
}

TEST_CASE("phases of a swarm have these numbers and names") {
  check_enum<swarm_phase>({{swarm_phase::queued, 0, "queued"},
                           {swarm_phase::running, 1, "running"},
                           {swarm_phase::stopping, 2, "stopping"},
                           {swarm_phase::closed, 3, "closed"}});
}

TEST_CASE("outcomes have these numbers and names") {
  check_enum<outcome>({{outcome::none, 0, "none"},
                       {outcome::completed, 1, "completed"},
                       {outcome::failed, 2, "failed"},
                       {outcome::timed_out, 3, "timed_out"},
                       {outcome::budget, 4, "budget"},
                       {outcome::cancelled, 5, "cancelled"},
                       {outcome::killed, 6, "killed"},
                       {outcome::lost, 7, "lost"},
                       {outcome::suspect, 8, "suspect"}});
}

TEST_CASE("directions and phases of a transfer have these numbers and names") {
  check_enum<transfer_direction>(
      {{transfer_direction::upload, 0, "upload"}, {transfer_direction::download, 1, "download"}});
  check_enum<transfer_phase>({{transfer_phase::intended, 0, "intended"},
                              {transfer_phase::running, 1, "running"},
                              {transfer_phase::done, 2, "done"},
                              {transfer_phase::failed, 3, "failed"}});
}

TEST_CASE("kinds of agents have these numbers and names") {
  check_enum<agent_kind>({{agent_kind::command, 0, "command"}, {agent_kind::claude, 1, "claude"}});
}

TEST_CASE("receipts have these numbers and names") {
  check_enum<receipt>({{receipt::accepted, 0, "accepted"},
                       {receipt::written, 1, "written"},
                       {receipt::acted_on, 2, "acted_on"},
                       {receipt::answered, 3, "answered"},
                       {receipt::expired, 4, "expired"}});
}

TEST_CASE("kinds of blocks have these numbers and names") {
  check_enum<block_kind>({{block_kind::text, 0, "text"},
                          {block_kind::thinking, 1, "thinking"},
                          {block_kind::tool_use, 2, "tool_use"},
                          {block_kind::tool_result, 3, "tool_result"},
                          {block_kind::retry, 4, "retry"},
                          {block_kind::other, 5, "other"}});
}

TEST_CASE("degrees of overlap have these numbers and names") {
  check_enum<overlap>({{overlap::same, 0, "same"},
                       {overlap::paths, 1, "paths"},
                       {overlap::hunks, 2, "hunks"},
                       {overlap::conflict, 3, "conflict"}});
}

TEST_CASE("severities have these numbers and names") {
  check_enum<severity>({{severity::info, 0, "info"},
                        {severity::warning, 1, "warning"},
                        {severity::error, 2, "error"}});
}

TEST_CASE("kinds of a follower's frames have these numbers and names") {
  check_enum<follow_kind>({{follow_kind::hello, 0, "hello"},
                           {follow_kind::data, 1, "data"},
                           {follow_kind::exit, 2, "exit"},
                           {follow_kind::pulse, 3, "pulse"},
                           {follow_kind::failure, 4, "failure"},
                           {follow_kind::dropped, 5, "dropped"}});
}
