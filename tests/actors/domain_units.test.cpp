// The parts of the domain actors that are plain functions and data.
#include "actors/guest_call.hpp"
#include "actors/output_log.hpp"
#include "actors/pane_set.hpp"
#include "actors/query_desk.hpp"
#include "actors/reaper.hpp"
#include "actors/sandbox_birth.hpp"
#include "actors/storage_backend.hpp"
#include "actors/told_collisions.hpp"
#include "messages/json.hpp"
#include "tests/actors/domain_fixture.hpp"

#include <csignal>
#include <fcntl.h>
#include <limits>
#include <numeric>
#include <sys/resource.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;

namespace {

const std::string secret = "hunter2/secret";

std::string content(const std::filesystem::path& p) {
  std::ifstream in{p, std::ios::binary};
  return std::string{std::istreambuf_iterator<char>{in}, {}};
}

std::string masked_in_pieces(const std::vector<std::string>& forms, const std::string& text,
                             std::size_t piece) {
  masker m{forms};
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += piece)
    out += m.feed(text.substr(i, piece));
  return out + m.flush();
}

/// Descriptors of this process that are open on a file.
std::vector<int> descriptors_of(const std::filesystem::path& file) {
  std::vector<int> out;
  for (const auto& x : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone;
    if (std::filesystem::read_symlink(x.path(), gone) == file)
      out.push_back(std::stoi(x.path().filename().string()));
  }
  return out;
}

/// What is written to these descriptors goes to the end of another file from now on.
void put_there(const std::vector<int>& descriptors, const std::string& file) {
  auto fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  REQUIRE(fd >= 0);
  for (auto d : descriptors)
    ::dup2(fd, d);
  ::close(fd);
}

using asker_actor = caf::typed_actor<caf::reacts_to<done_a, continuation>>;

/// Has its jobs done by the working pool and keeps what it hears of them.
class asker : public domain_actor<asker_actor> {
public:
  using job_list = std::vector<std::function<result<int>()>>;
  asker(caf::actor_config& cfg, services_ptr svc, job_list jobs, std::vector<result<int>>* heard)
      : domain_actor(cfg), svc_(std::move(svc)), jobs_(std::move(jobs)), heard_(heard) {}
  behavior_type make_behavior() override {
    for (const auto& job : jobs_)
      in_pool<int>(svc_, job, [this](result<int> r) { heard_->push_back(std::move(r)); });
    return {[](done_a, const continuation& c) { c.run(); }};
  }
  void on_exit() override { svc_.reset(); }

private:
  services_ptr svc_;
  job_list jobs_;
  std::vector<result<int>>* heard_;
};

} // namespace

TEST_CASE("work that throws is an internal error for the actor that asked, and the next job runs") {
  world w;
  std::vector<result<int>> heard;
  asker::job_list jobs{
      []() -> result<int> { throw std::runtime_error("no thread could be made"); },
      []() -> result<int> { throw 7; },
      []() -> result<int> { return 3; },
  };
  w.v.root(w.v.sys.spawn<asker>(w.svc, jobs, &heard));
  w.settle();
  REQUIRE(heard.size() == 3);
  REQUIRE_FALSE(heard[0].ok());
  CHECK(heard[0].err().code == errc::internal);
  CHECK(heard[0].err().message == "no thread could be made");
  REQUIRE_FALSE(heard[1].ok());
  CHECK(heard[1].err().code == errc::internal);
  REQUIRE(heard[2].ok());
  CHECK(*heard[2] == 3);
  CHECK(w.end() == 0);
}

TEST_CASE("a secret is masked whole wherever the pieces are cut, and lengths stay") {
  auto text = "before " + secret + " between " + secret + secret + " after hunter2/secre";
  auto stars = std::string(secret.size(), '*');
  auto want = "before " + stars + " between " + stars + stars + " after hunter2/secre";
  for (std::size_t piece = 1; piece <= text.size(); ++piece)
    REQUIRE(masked_in_pieces(masked_forms({secret}), text, piece) == want);
}

TEST_CASE("a secret is masked URL-encoded and in base64 at every alignment") {
  auto forms = masked_forms({secret});
  CHECK(masked_in_pieces(forms, "k=hunter2%2Fsecret&x", 3) == "k=****************&x");
  for (std::size_t before = 0; before < 6; ++before) {
    auto text = base64_encode(std::string(before, 'x') + secret + "tail");
    auto out = masked_in_pieces(forms, text, 5);
    INFO(text << " -> " << out);
    CHECK(out.size() == text.size());
    // All whole characters of the secret's 14 bytes are gone: at most one is left on each side.
    CHECK(std::count(out.begin(), out.end(), '*') >= 17);
  }
}

TEST_CASE("values too short to be told from ordinary text are not masked") {
  CHECK(masked_forms({"abcd", ""}).empty());
  CHECK(masked_in_pieces({"abcd"}, "xabcdx", 2) == "xabcdx");
}

TEST_CASE("of two secrets with one beginning the longer one is masked whole") {
  auto forms = strings{"abcde", "abcdefgh"};
  for (std::size_t piece = 1; piece <= 12; ++piece) {
    CHECK(masked_in_pieces(forms, "-abcdefgh-", piece) == "-********-");
    CHECK(masked_in_pieces(forms, "-abcdefg-", piece) == "-*****fg-");
    CHECK(masked_in_pieces(forms, "-abcdefg", piece) == "-*****fg");
  }
}

TEST_CASE("of a secret that comes slowly only the beginning is shown, and no byte twice") {
  masker m{strings{"abcde", "abcdefgh"}};
  CHECK(m.feed("x-ab") == "x-");
  CHECK(m.show() == "ab");
  CHECK(m.show().empty());
  CHECK(m.feed("c").empty());
  CHECK(m.show() == "c");
  CHECK(m.feed("de").empty()); // the longer one may come
  CHECK(m.show() == "**");     // one of them is whole
  CHECK(m.feed("f") == "");
  CHECK(m.feed("gh!ab") == "***!");
  CHECK(m.show() == "ab");
  CHECK(m.feed("x") == "x");
  CHECK(m.feed("abcd") == "");
  CHECK(m.flush() == "abcd");
}

TEST_CASE("a log drops repeated bytes, refuses a jump, and goes on at its length") {
  scratch tmp;
  auto file = tmp.path / "logs" / "pn_a.1.log";
  auto forms = masked_forms({"hunter2"});
  {
    auto log = output_log::open(file, forms);
    REQUIRE(log.ok());
    CHECK(*log->append(0, "hello ") == "hello ");
    CHECK(*log->append(0, "hello ") == ""); // the same bytes again
    CHECK(*log->append(3, "lo world") == "world");
    auto jump = log->append(100, "x");
    REQUIRE_FALSE(jump.ok());
    CHECK(jump.err().code == errc::bad_frame);
    CHECK(log->position() == 11);
    // What may be the beginning of a secret waits, and counts for the next offset.
    CHECK(*log->append(11, " hunt") == " ");
    CHECK(log->position() == 12);
    CHECK(log->expected() == 16);
  }
  CHECK(content(file) == "hello world ");
  // After a restart the held-back bytes are asked for again.
  auto log = output_log::open(file, forms);
  REQUIRE(log.ok());
  CHECK(log->expected() == 12);
  CHECK(*log->append(12, "hunter2 hun") == "******* ");
  CHECK(*log->finish() == "hun");
  CHECK(content(file) == "hello world ******* hun");
  CHECK((std::filesystem::status(file).permissions() & std::filesystem::perms::mask)
        == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("a log that takes half a masked value only goes on before it, and shows no half of it") {
  scratch tmp;
  const auto file = tmp.path / "logs" / "pn_a.1.log";
  const auto forms = masked_forms({secret});
  const auto text = "before " + secret + " after";
  auto log = output_log::open(file, forms);
  REQUIRE(log);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto old = ::signal(SIGXFSZ, SIG_IGN);
  rlimit full{12, before.rlim_max}; // in the middle of the value
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &full) == 0);
  auto written = log->append(0, text);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  ::signal(SIGXFSZ, old);
  CHECK_FALSE(written);
  auto next = output_log::open(file, forms);
  REQUIRE(next);
  auto from = next->expected();
  REQUIRE(from <= 7);
  REQUIRE(next->append(from, text.substr(from)));
  REQUIRE(next->finish());
  CHECK(content(file) == "before " + std::string(secret.size(), '*') + " after");
}

TEST_CASE("a log that cannot be opened says which") {
  scratch tmp;
  std::filesystem::create_symlink("/dev/null", tmp.path / "link.log");
  auto log = output_log::open(tmp.path / "link.log", {});
  REQUIRE_FALSE(log.ok());
  CHECK(log.err().code == errc::io);
  CHECK(log.err().message.find("link.log") != std::string::npos);
}

TEST_CASE("a set of panes knows when all run, all are over, and how it went") {
  std::vector<pane_record> rows(3);
  for (std::size_t i = 0; i < 3; ++i)
    rows[i].pane = {"pn_" + std::to_string(i)};
  pane_set set{rows};
  CHECK_FALSE(set.all_settled());
  set.ready({"pn_0"});
  set.ready({"pn_1"});
  set.ready({"pn_x"}); // not ours
  CHECK_FALSE(set.contains({"pn_x"}));
  CHECK_FALSE(set.closed({"pn_x"}, outcome::failed, {}));
  CHECK_FALSE(set.all_settled());
  CHECK(set.closed({"pn_2"}, outcome::suspect, make_error(errc::suspect_result)));
  CHECK(set.all_settled());
  CHECK_FALSE(set.closed({"pn_2"}, outcome::completed, {})); // only once
  CHECK(set.out() == std::vector<pane_id>{{"pn_2"}});
  CHECK(set.closed({"pn_0"}, outcome::completed, {}));
  CHECK_FALSE(set.all_closed());
  CHECK(set.closed({"pn_1"}, outcome::failed, make_error(errc::agent_failed)));
  CHECK(set.all_closed());
  error why;
  CHECK(set.verdict(why) == outcome::failed); // the worst one
  CHECK(why.code == errc::suspect_result);    // the first one
}

TEST_CASE("an orphan is ours and wanted by nobody") {
  sandbox::listed x;
  x.remote_id = "i1";
  x.metadata = {{"skep.install", "in_1"}, {"skep.sandbox", "sb_a"}};
  sandbox_record open;
  open.sandbox = {"sb_a"};
  open.remote_id = "i1";
  open.state = phase::running;
  result<sandbox_record> unknown = make_error(errc::not_found);
  result<sandbox_record> unreadable = make_error(errc::sql);
  CHECK(is_orphan(x, "in_1", unknown));
  CHECK_FALSE(is_orphan(x, "in_2", unknown)); // another installation's
  CHECK_FALSE(is_orphan(x, "in_1", unreadable));
  CHECK_FALSE(is_orphan(x, "in_1", open));
  auto creating = open;
  creating.remote_id.clear(); // its create has no answer yet
  CHECK_FALSE(is_orphan(x, "in_1", creating));
  auto twin = open;
  twin.remote_id = "i2";
  CHECK(is_orphan(x, "in_1", twin));
  auto closed = open;
  closed.state = phase::closed;
  CHECK(is_orphan(x, "in_1", closed));
  closed.kill_intended = true; // the unconfirmed kill is repeated elsewhere
  CHECK_FALSE(is_orphan(x, "in_1", closed));
  closed.kill_intended = false;
  closed.kept = true;
  CHECK_FALSE(is_orphan(x, "in_1", closed));
  x.metadata.clear();
  CHECK_FALSE(is_orphan(x, "in_1", unknown)); // a stranger
}

TEST_CASE("a create is settled unless its answer may have been lost") {
  for (auto lost :
       {errc::timed_out, errc::network, errc::protocol, errc::cancelled, errc::shutting_down})
    CHECK_FALSE(create_is_settled(make_error(lost)));
  for (auto told : {errc::auth, errc::quota, errc::rate, errc::capacity, errc::refused,
                    errc::bad_argument, errc::not_found})
    CHECK(create_is_settled(make_error(told)));
}

TEST_CASE("a guest's answer is its first line of JSON, or the reason there is none") {
  auto read = [](command_result r) { return read_guest_answer(r); };
  CHECK((*read(said("{\"pid\":4}\nnoise")))["pid"] == 4);
  CHECK(read(said("no json")).err().code == errc::protocol);
  CHECK(read(said("[1]")).err().code == errc::protocol);
  CHECK(read(said("")).err().code == errc::protocol);
  auto cut = said("{\"modified\":[\"a");
  cut.stdout_truncated = true;
  CHECK(read(cut).err().code == errc::protocol);
  CHECK(read(cut).err().message
        == "skep-guest's answer is cut off after 15 bytes, which is all "
           "that is kept of a command's output");
  cut.stdout_data = "{\"pid\":4}\nnoise";
  CHECK((*read(cut))["pid"] == 4);
  auto failed = read(said("{\"error\":\"x\",\"message\":\"no space\"}", 1)).err();
  CHECK(failed.code == errc::remote_command_failed);
  CHECK(failed.cause == "no space");
  CHECK(read(said("{\"message\":\"newer\"}", 3)).err().code == errc::stale_epoch);
  CHECK(read(said("{\"message\":5}", 1)).err().cause == "exit status 1");
  auto silent = said("", 1);
  silent.stderr_data = std::string(2000, 'e');
  CHECK(read(silent).err().cause.size() == 500);
  command_result killed{3, false, "signal: killed", {}, {}, false, false};
  CHECK(read(killed).err().code == errc::remote_command_failed); // 3 counts as an exit code only
  result<command_result> none = make_error(errc::network);
  CHECK(read_guest_answer(none).err().code == errc::network);
}

TEST_CASE("what skep-guest says of a tree is read by type, and anything else is an error by name") {
  auto arrived =
      read_arrived(json::parse(R"({"files":3,"size_bytes":12,"manifest_sha256":"ab","more":[]})"));
  REQUIRE(arrived.ok());
  CHECK(arrived->files == 3);
  CHECK(arrived->size_bytes == 12);
  CHECK(arrived->manifest_sha256 == "ab");
  // A setup may have put its own program in the place of skep-guest.
  for (const auto* text : {"{}", "[]", R"({"files":"3","size_bytes":12,"manifest_sha256":"ab"})",
                           R"({"files":-3,"size_bytes":12,"manifest_sha256":"ab"})",
                           R"({"files":3,"size_bytes":null,"manifest_sha256":"ab"})",
                           R"({"files":3,"size_bytes":12,"manifest_sha256":{}})"}) {
    INFO(text);
    CHECK(read_arrived(json::parse(text)).err().code == errc::protocol);
  }
  auto base = read_guest_base(json::parse(R"({"commit":"b45e","changed":true})"));
  REQUIRE(base.ok());
  CHECK(base->commit == "b45e");
  CHECK(base->changed);
  CHECK_FALSE(base->is_head);
  for (const auto* text :
       {"{}", R"({"commit":7})", R"({"commit":"--help"})", R"({"commit":""})",
        R"({"commit":"b45e","is_head":"yes"})", R"({"commit":"b45e","changed":1})"}) {
    INFO(text);
    CHECK(read_guest_base(json::parse(text)).err().code == errc::protocol);
  }
}

TEST_CASE(
    "what skep-guest says of a pane, of input and of parts is read by type, whoever wrote it") {
  CHECK(*read_launched(json::parse(R"({"pid":4711})")) == 4711);
  CHECK(*read_launched(json::parse("{}")) == 0); // it ended before it was asked again
  CHECK(*read_launched(json::parse(R"({"state":"running","pid":4711})")) == 4711);
  auto not_yet = read_launched(json::parse(R"({"state":"starting"})"));
  REQUIRE_FALSE(not_yet.ok());
  CHECK(not_yet.err().code == errc::timed_out);
  CHECK(retriable(not_yet.err()));
  for (const char* text : {R"({"pid":"4711"})", R"({"pid":4711,"state":7})", R"({"pid":-1})",
                           R"({"pid":null})", "[]", "7"}) {
    INFO(text);
    CHECK(read_launched(json::parse(text)).err().code == errc::protocol);
  }
  CHECK(*read_changed(json::parse(R"({"changed":true})")));
  CHECK_FALSE(*read_changed(json::parse(R"({"changed":false})")));
  for (const auto* text : {"{}", R"({"changed":"no"})", R"({"changed":1})", "[true]"})
    CHECK(read_changed(json::parse(text)).err().code == errc::protocol);
  CHECK(read_input_arrived(json::parse(R"({"state":"written"})")));
  CHECK(read_input_arrived(json::parse(R"({"state":"duplicate"})")));
  for (const char* text : {R"({"state":5})", R"({"state":"expired"})", "{}", "[]"}) {
    INFO(text);
    CHECK_FALSE(read_input_arrived(json::parse(text)));
  }
  auto parts = read_parts(json::parse(
      R"({"parts":[{"name":"a","size_bytes":3,"sha256":"ab"},{"name":7},5,{"name":"b","size_bytes":-1,"sha256":"x"}]})"));
  REQUIRE(parts.size() == 1);
  CHECK(parts["a"] == std::pair<std::uint64_t, std::string>{3, "ab"});
  for (const char* text : {R"({"parts":{"name":"a"}})", "{}", "[]"})
    CHECK(read_parts(json::parse(text)).empty());
}

TEST_CASE("a part of a log is found from its start, from its end, and by generation") {
  scratch tmp;
  std::filesystem::create_directories(tmp.path / "sw_a");
  tmp.file("sw_a/pn_a.1.log", "old");
  tmp.file("sw_a/pn_a.2.log", "0123456789");
  pane_record pane;
  pane.pane = {"pn_a"};
  pane.swarm = {"sw_a"};
  pane.attempt = 2;
  pane.state = pane_phase::running;
  auto read = [&](std::int64_t offset, std::uint32_t most = 100, std::uint32_t generation = 0) {
    auto r = read_log(tmp.path, pane, {pane.pane, generation, offset, most});
    REQUIRE(r.ok());
    return *r;
  };
  CHECK(read(0).data.data == "0123456789");
  CHECK(read(0).generation == 2);
  CHECK_FALSE(read(0).closed);
  CHECK(read(4, 3).data.data == "456");
  CHECK(read(4, 3).end_offset == 10);
  CHECK(read(-3).data.data == "789");
  CHECK(read(-3).offset == 7);
  CHECK(read(-100).offset == 0);
  CHECK(read(std::numeric_limits<std::int64_t>::min()).offset == 0);
  CHECK(read(std::numeric_limits<std::int64_t>::max()).offset == 10);
  CHECK(read(10).data.data.empty());
  CHECK(read(0, 0).data.data.empty());
  CHECK(read(0, 100, 1).data.data == "old");
  CHECK(read(0, 100, 1).closed); // a newer attempt runs
  CHECK(read(0, 100, 3).end_offset == 0);
  pane.state = pane_phase::closed;
  CHECK(read(0).closed);
}

TEST_CASE("the newest 50 KiB of a log begin at a whole character and end at its end") {
  constexpr std::int64_t newest = 51'200;
  scratch tmp;
  std::filesystem::create_directories(tmp.path / "sw_a");
  pane_record pane;
  pane.pane = {"pn_a"};
  pane.swarm = {"sw_a"};
  pane.attempt = 1;
  auto read = [&](std::int64_t size) {
    auto r = read_log(tmp.path, pane, {pane.pane, 0, -size, 1024 * 1024});
    REQUIRE(r.ok());
    return *r;
  };
  auto whole_of = [&](const std::string& character) {
    std::string whole;
    while (whole.size() < 1'000'000)
      whole += character;
    tmp.file("sw_a/pn_a.1.log", whole);
    return whole;
  };
  auto plain = whole_of("a line of ordinary words\n");
  CHECK(read(newest).data.data == plain.substr(plain.size() - newest));
  for (const std::string character : {"\u00e9", "\u20ac", "\U0001f41d"}) {
    auto whole = whole_of(character);
    for (std::int64_t size = newest; size < newest + 4; ++size) {
      auto r = read(size);
      const auto& text = r.data.data;
      INFO(character << " " << size);
      CHECK(text.size() <= static_cast<std::size_t>(size));
      CHECK(text.size() + 3 >= static_cast<std::size_t>(size));
      CHECK(text.size() % character.size() == 0);
      CHECK(text.starts_with(character));
      CHECK(r.offset + text.size() == whole.size());
    }
  }
  // What is no UTF-8 is given as it is, and a start that was named is kept to the byte.
  auto bytes = whole_of("\x80");
  CHECK(read(newest).data.data.size() == newest);
  CHECK(read_log(tmp.path, pane, {pane.pane, 0, 7, 10})->offset == 7);
}

TEST_CASE("a read of a huge log is bounded, whatever it asks for") {
  scratch tmp;
  std::filesystem::create_directories(tmp.path / "sw_a");
  auto file = tmp.file("sw_a/pn_a.1.log", "x");
  constexpr std::uint64_t huge = std::uint64_t{8} << 30U;
  std::filesystem::resize_file(file, huge); // a hole behind it: it takes no place
  pane_record pane;
  pane.pane = {"pn_a"};
  pane.swarm = {"sw_a"};
  pane.attempt = 1;
  for (std::int64_t from : {std::int64_t{0}, std::int64_t{-1} << 32U, std::int64_t{5} << 30U}) {
    auto r = read_log(tmp.path, pane, {pane.pane, 0, from, ~0U});
    REQUIRE(r.ok());
    CHECK(r->data.data.size() <= 512 * 1024);
    CHECK(r->end_offset == huge);
  }
}

TEST_CASE("a log that is there and cannot be read is an error and no empty log") {
  scratch tmp;
  const auto logs = tmp.path / "logs";
  std::filesystem::create_directories(logs / "sw_a" / "pn_a.1.log" / "x"); // a folder in its place
  tmp.file("logs/sw_b", "a file in the place of the swarm's folder");
  auto read = [&](const char* swarm, std::uint32_t attempt) {
    pane_record pane;
    pane.pane = {"pn_a"};
    pane.swarm = {swarm};
    pane.attempt = attempt;
    return read_log(logs, pane, {pane.pane, 0, 0, 100});
  };
  for (const auto* swarm : {"sw_a", "sw_b"}) {
    INFO(swarm);
    auto r = read(swarm, 1);
    REQUIRE_FALSE(r.ok());
    CHECK(r.err().code == errc::io);
    CHECK(r.err().message.find((logs / swarm / "pn_a.1.log").string()) != std::string::npos);
    CHECK_FALSE(r.err().cause.empty());
  }
  for (const auto* swarm : {"sw_a", "sw_never"}) {
    INFO(swarm);
    auto r = read(swarm, 2);
    REQUIRE(r.ok());
    CHECK(r->data.data.empty());
    CHECK(r->end_offset == 0);
  }
}

TEST_CASE("only a log that was never written is left out of the results") {
  scratch tmp;
  auto file = tmp.file("p0.1.log", "what it said");
  CHECK(copy_log(file, tmp.path / "p0.log").ok());
  CHECK(content(tmp.path / "p0.log") == "what it said");
  CHECK(copy_log(tmp.path / "p1.1.log", tmp.path / "p1.log").ok());
  CHECK_FALSE(std::filesystem::exists(tmp.path / "p1.log"));
  std::filesystem::create_directories(tmp.path / "p2.1.log");
  for (const auto& unreadable : {tmp.path / "p2.1.log", file / "below"}) {
    INFO(unreadable.string());
    auto copied = copy_log(unreadable, tmp.path / "p2.log");
    REQUIRE_FALSE(copied.ok());
    CHECK(copied.err().code == errc::io);
    CHECK(copied.err().message.find(unreadable.string()) != std::string::npos);
    CHECK_FALSE(copied.err().cause.empty());
  }
}

TEST_CASE("an audit log that cannot be written is told once, and once more when it is whole") {
  scratch tmp;
  storage::journal_options o;
  o.disk = {0, 0};
  o.checkpoint_thread = false;
  o.audit.emplace();
  o.audit->directory = tmp.path;
  auto opened = storage::journal::open(tmp.path / "skep.db", o);
  REQUIRE(opened.ok());
  auto backend = wrap_journal(std::move(*opened));
  const auto file = std::filesystem::canonical(tmp.path / "audit.jsonl");
  auto word_after_commit = [&] {
    chunk c;
    c.count = 1;
    pack_event(c.body.data, {}, panic_asked{"all", 1}); // has a line
    REQUIRE(backend->begin());
    REQUIRE(backend->append(c));
    REQUIRE(backend->commit());
    return backend->word();
  };
  CHECK_FALSE(word_after_commit());
  const auto log = descriptors_of(file);
  REQUIRE_FALSE(log.empty());
  put_there(log, "/dev/full");
  auto failed = word_after_commit();
  REQUIRE(failed);
  CHECK(failed->code == "audit_failed");
  CHECK(failed->level == severity::warning);
  CHECK(failed->text.find(file.filename().string()) != std::string::npos);
  CHECK_FALSE(word_after_commit());
  put_there(log, file.string());
  auto written = word_after_commit();
  REQUIRE(written);
  CHECK(written->code == "audit_written");
  CHECK_FALSE(word_after_commit());
  auto text = content(file);
  CHECK(std::count(text.begin(), text.end(), '\n') == 5);
}

TEST_CASE(
    "a collision that became worse is told again, also behind the two hundredth path, and that "
    "some are left out is told once") {
  auto met = [](const std::string& path, std::vector<std::string> panes,
                overlap level = overlap::paths) {
    collision x;
    x.path = path;
    x.panes = std::move(panes);
    x.level = level;
    return x;
  };
  told_collisions told;
  std::vector<collision> many;
  for (std::size_t i = 0; i < most_told_paths; ++i)
    many.push_back(met("f" + std::to_string(i), {"p0", "p1"}));
  auto first = told.of(many);
  CHECK(first.tell.size() == most_told_paths);
  CHECK_FALSE(first.left_out);
  CHECK(told.of(many).tell.empty()); // no news
  // One more pane on a path that was told, and on one that was not.
  auto worse = told.of({met("new", {"p0", "p1"}), met("f7", {"p0", "p1", "p2"})});
  REQUIRE(worse.tell.size() == 1);
  CHECK(worse.tell[0].path == "f7");
  CHECK(worse.left_out);
  auto again = told.of({met("newer", {"p0", "p1"}), met("f7", {"p0", "p1", "p2"}),
                        met("f8", {"p0", "p1"}, overlap::conflict)});
  REQUIRE(again.tell.size() == 1);
  CHECK(again.tell[0].path == "f8");
  CHECK_FALSE(again.left_out);
}
