#include "messages/ids.hpp"
#include "messages/codec.hpp"
#include "messages/json.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <set>
#include <thread>
#include <unordered_set>

using namespace skep;

namespace {

/// Calls `visit.operator()<Id>(sigil)` for every kind of id.
template <class Visitor>
void for_each_id(Visitor&& visit) {
  visit.template operator()<swarm_id>("sw_");
  visit.template operator()<sandbox_id>("sb_");
  visit.template operator()<pane_id>("pn_");
  visit.template operator()<task_id>("tk_");
  visit.template operator()<transfer_id>("tr_");
}

template <class Id>
bool wire_accepts(const std::string& text) {
  std::string out;
  string_sink sink{out};
  packer p{sink};
  pack_value(p, text);
  std::size_t offset = 0;
  auto handle = parse_object(out, offset);
  Id id;
  return handle.ok() && unpack_value(handle->get(), id) && id.value == text;
}

template <class Id>
bool json_accepts(const std::string& text) {
  Id id;
  return from_json_value(json(text), id) && id.value == text;
}

} // namespace

TEST_CASE("each kind of id has its own sigil and is 16 characters behind it") {
  for_each_id([]<class Id>(std::string_view sigil) {
    CHECK(Id::sigil == sigil);
    auto id = Id::make();
    INFO(id.value);
    CHECK(id.value.size() == sigil.size() + 16);
    CHECK(id.value.starts_with(sigil));
    CHECK(id.valid());
    CHECK_FALSE(id.empty());
    CHECK(Id{}.empty());
    CHECK_FALSE(Id{}.valid());
  });
}

TEST_CASE("an id of one kind is refused where another kind is meant") {
  for_each_id([]<class Meant>(std::string_view) {
    for_each_id([]<class Given>(std::string_view) {
      auto text = Given::make().value;
      INFO(text << " where " << Meant::sigil << " is meant");
      constexpr auto alike = std::is_same_v<Meant, Given>;
      CHECK(Meant{text}.valid() == alike);
      CHECK(wire_accepts<Meant>(text) == alike);
      CHECK(json_accepts<Meant>(text) == alike);
    });
  });
}

TEST_CASE("the text of an id is checked to its last character") {
  struct row {
    std::string text;
    bool good;
  };
  const std::string longest = "pn_" + std::string(40, 'a');
  for (const auto& r :
       {row{"pn_a", true}, row{"pn_0123456789abcxyz", true}, row{longest, true},
        row{longest + "a", false}, row{"pn_", false}, row{"pn", false}, row{"p", false},
        row{"PN_a", false}, row{"pn_A", false}, row{"pn-a", false}, row{" pn_a", false},
        row{"pn_a ", false}, row{"pn_a\n", false}, row{"pn_a_b", false}, row{"pn_../../etc", false},
        row{"pn_a/b", false}, row{std::string{"pn_a\0b", 6}, false}, row{"pn_\xc3\xa4", false}}) {
    INFO(r.text);
    CHECK(pane_id{r.text}.valid() == r.good);
    CHECK(valid_id(r.text, "pn_") == r.good);
    CHECK(wire_accepts<pane_id>(r.text) == r.good);
    CHECK(json_accepts<pane_id>(r.text) == r.good);
  }
}

TEST_CASE("an empty id travels: it means none") {
  CHECK(wire_accepts<pane_id>(""));
  CHECK(json_accepts<pane_id>(""));
}

TEST_CASE("ids are ordered and hashed by their text") {
  const pane_id a{"pn_a"}, b{"pn_b"}, ab{"pn_ab"};
  CHECK(a < b);
  CHECK(a < ab);
  CHECK(ab < b);
  CHECK(pane_id{} < a);
  CHECK(a == pane_id{"pn_a"});
  CHECK(a != b);
  std::vector<pane_id> list{b, ab, a};
  std::sort(list.begin(), list.end());
  CHECK(list == std::vector<pane_id>{a, ab, b});
  CHECK(std::hash<pane_id>{}(a) == std::hash<pane_id>{}(pane_id{"pn_a"}));
  CHECK(std::unordered_set<pane_id>{a, b, a}.size() == 2);
}

TEST_CASE("ids made by several threads at once do not collide") {
  constexpr std::size_t each = 5'000;
  std::vector<std::vector<std::string>> made(4);
  std::vector<std::thread> threads;
  for (auto& mine : made)
    threads.emplace_back([&mine] {
      for (std::size_t i = 0; i < each; ++i)
        mine.push_back(sandbox_id::make().value);
    });
  for (auto& t : threads)
    t.join();
  std::set<std::string> all;
  for (const auto& mine : made)
    all.insert(mine.begin(), mine.end());
  CHECK(all.size() == each * made.size());
}

TEST_CASE("random tokens have the asked size and use all characters about equally") {
  CHECK(random_token(0).empty());
  CHECK(random_token(1).size() == 1);
  CHECK(random_token(1'000).size() == 1'000);
  std::map<char, int> seen;
  constexpr int draws = 72'000;
  for (char c : random_token(draws))
    ++seen[c];
  CHECK(seen.size() == 36);
  for (auto [c, n] : seen) {
    INFO(c << " " << n);
    CHECK(((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')));
    // 2,000 expected with a standard deviation of 44: this is 9 of them.
    CHECK(n > draws / 36 - 400);
    CHECK(n < draws / 36 + 400);
  }
}
