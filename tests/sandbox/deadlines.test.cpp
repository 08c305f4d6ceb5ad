// Row S1-01: the whole table of policy.hpp against peers that hang in every way. All calls run at
// once, so the test takes little more than one limit.
#include "tests/sandbox/client_fixture.hpp"

#include "sandbox/envd.hpp"
#include "sandbox/templates.hpp"

#include <list>

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

namespace {

using clock_type = std::chrono::steady_clock;
constexpr auto limit = 300ms;
const std::string files_hash(64, 'a');

/// What became of one operation against one peer.
struct ended_call {
  operation op;
  error failure;
  clock_type::duration took;
};

policy all_limits() {
  policy p;
  for (auto& x : p.limits)
    x.deadline = limit;
  p.command_grace = 600ms; // the start event is limited by itself
  return p;
}

/// Makes every call of the table once; each end is handed to `note`.
class walk {
public:
  walk(client& api, const std::string& url, const std::filesystem::path& dir,
       std::function<void(ended_call)> note)
      : api_(api), url_(url), dir_(dir), note_(std::move(note)) {}

  std::size_t start() {
    sandboxes();
    processes();
    files();
    control_calls();
    template_calls();
    envd_calls();
    return started_;
  }

private:
  auto expect(operation op) {
    ++started_;
    return [note = note_, op, begin = clock_type::now()](auto r) {
      note({op, r.ok() ? error{} : r.err(), clock_type::now() - begin});
    };
  }
  stream_handlers on_end(operation op) {
    stream_handlers out;
    out.on_end = expect(op);
    return out;
  }

  void sandboxes() {
    api_.create({}, expect(operation::create));
    api_.list({}, expect(operation::list));
    api_.get("i1", expect(operation::get));
    api_.kill("i1", expect(operation::kill));
    api_.set_timeout("i1", 9s, expect(operation::set_timeout));
    api_.set_network("i1", {}, expect(operation::set_network));
    api_.pause("i1", true, expect(operation::pause));
    api_.connect("i1", 9s, expect(operation::connect));
    api_.usage(box, expect(operation::usage));
    api_.get_model_usage("i1", expect(operation::get_model_usage));
    api_.set_allowance("i1", 1, expect(operation::set_allowance));
    api_.health(box, expect(operation::health));
  }
  void processes() {
    api_.run(box, argv({"x"}), expect(operation::run));
    api_.start_background(box, argv({"x"}), expect(operation::start_background));
    api_.open_stream(box, argv({"x"}), on_end(operation::open_stream));
    api_.send_input(box, 1, "x", false, expect(operation::send_input));
    api_.close_stdin(box, 1, expect(operation::close_stdin));
    api_.send_signal(box, 1, signal::kill, expect(operation::send_signal));
    api_.resize_pty(box, 1, {}, expect(operation::resize_pty));
    api_.list_processes(box, expect(operation::list_processes));
  }
  void files() {
    api_.upload_file(box, dir_ / "up", "/x", {}, expect(operation::upload_file));
    api_.write_file(box, "/x", "x", {}, expect(operation::write_file));
    api_.read_file(box, "/x", 0, 0, {}, expect(operation::read_file));
    api_.download_file(box, "/x", dir_ / "down", 9999, {}, expect(operation::download_file));
    api_.stat(box, "/x", {}, expect(operation::stat));
    api_.list_dir(box, "/x", 1, {}, expect(operation::list_dir));
    api_.make_dir(box, "/x", {}, expect(operation::make_dir));
    api_.move(box, "/x", "/y", {}, expect(operation::move));
    api_.remove(box, "/x", {}, expect(operation::remove));
  }
  void control_calls() {
    control more{api_};
    more.create_all({}, expect(operation::create_all));
    more.resume_paused("i1", 9s, false, expect(operation::resume_paused));
    more.list_page({}, expect(operation::list_page));
    more.list_running({}, expect(operation::list_running));
    more.refresh("i1", 9s, expect(operation::refresh));
    more.metrics("i1", {}, {}, expect(operation::metrics));
    more.metrics_of({"i1"}, expect(operation::metrics_of));
    more.logs("i1", {}, expect(operation::logs));
    more.logs_v1("i1", {}, 5, expect(operation::logs_v1));
    more.create_snapshot("i1", "x", expect(operation::create_snapshot));
    more.list_snapshots({}, expect(operation::list_snapshots));
    more.delete_snapshot("t/x:default", expect(operation::delete_snapshot));
    more.fork("i1", 2, 0s, expect(operation::fork));
  }
  void template_calls() {
    templates more{api_};
    const template_build which{"t1", "b1"};
    build_spec spec;
    spec.from_image = "debian";
    more.create_template({"x"}, expect(operation::create_template));
    more.file_link("t1", files_hash, expect(operation::file_link));
    more.upload_layer(url_ + "/put", dir_ / "up", expect(operation::upload_layer));
    more.start_build(which, spec, expect(operation::start_build));
    more.build_status(which, 0, expect(operation::build_status));
    more.build_logs(which, {}, expect(operation::build_logs));
    more.find_alias("x", expect(operation::find_alias));
    more.list_templates({}, expect(operation::list_templates));
    more.get_template("t1", expect(operation::get_template));
    more.delete_template("t1", expect(operation::delete_template));
    more.set_public("t1", true, expect(operation::set_public));
    more.assign_tags("x:v1", {"prod"}, expect(operation::assign_tags));
    more.remove_tags("x", {"prod"}, expect(operation::remove_tags));
    more.list_tags("t1", expect(operation::list_tags));
  }
  void envd_calls() {
    envd more{api_};
    more.connect_process(box, {7}, {}, on_end(operation::connect_process));
    more.stream_input(box, {7}, {"x"}, false, expect(operation::stream_input));
    watch_handlers watch;
    watch.on_change = [](const file_change&) { return true; };
    watch.on_end = expect(operation::watch_dir);
    more.watch_dir(box, "/x", {}, watch);
    more.create_watcher(box, "/x", {}, expect(operation::create_watcher));
    more.watcher_events(box, "w1", expect(operation::watcher_events));
    more.remove_watcher(box, "w1", expect(operation::remove_watcher));
    more.write_files(box, {{"/x", "x"}}, {}, expect(operation::write_files));
    more.compose(box, {"/x"}, "/y", {}, expect(operation::compose));
    more.environment(box, expect(operation::environment));
  }

  client& api_;
  const std::string url_;
  const std::filesystem::path dir_;
  std::function<void(ended_call)> note_;
  std::size_t started_ = 0;
};

/// A clock that moves when told to, for the engine.
struct still_clock {
  static inline std::atomic<std::int64_t> passed_ms{0};
  static clock_type::time_point now() {
    return clock_type::time_point{} + std::chrono::hours{1000}
           + std::chrono::milliseconds{passed_ms.load()};
  }
  /// Moves it, and returns once the engine has looked twice: what is due by then has ended.
  static void set(http_engine& e, std::chrono::milliseconds at) {
    passed_ms = at.count();
    for (int i = 0; i < 3; ++i) {
      std::promise<void> seen;
      e.post([&] { seen.set_value(); });
      seen.get_future().wait();
    }
  }
};

/// A way to hang, with the engine's view of it as a server.
struct way {
  const char* name;
  script_server::handler hang;
};

const std::string body_head = "HTTP/1.1 200 x\r\nContent-Type: application/connect+json\r\n"
                              "Content-Length: 1000\r\n\r\n";

std::vector<way> ways() {
  return {{"never answers", [](peer& p, const request&) { p.wait_closed(); }},
          {"half a header",
           [](peer& p, const request&) {
             p.send("HTTP/1.1 200 x\r\nContent-Ty");
             p.wait_closed();
           }},
          {"half a body",
           [](peer& p, const request&) {
             p.send(body_head + std::string("\0\0\0\3", 4) + std::string(400, 'x'));
             p.wait_closed();
           }},
          {"one byte a second",
           [](peer& p, const request&) {
             p.send(body_head);
             p.drip(std::string("\0\0\0\3\3", 5) + std::string(400, 'x'), 1000);
           }},
          {"a byte every 40 ms", [](peer& p, const request&) {
             p.send(body_head);
             p.drip(std::string("\0\0\0\3\3", 5) + std::string(400, 'x'), 40);
           }}};
}

} // namespace

TEST_CASE("every operation against every kind of hung peer ends at its limit, named, while another "
          "sandbox's stream goes on",
          "[owasp-a04]") {
  scratch dir;
  std::ofstream{dir.path / "up"} << "x";
  watched<int> ticks{0}; // before the engine, whose end is a stream's end
  std::atomic<int> broken{0};
  engine_options options;
  options.requests_in_flight = options.in_flight_a_handle = 400; // nobody waits in the queue
  auto engine = std::make_shared<http_engine>(options);

  // The other sandbox: a line every 10 ms.
  script_server lively{[](peer& p, const request&) {
    p.begin_chunks(200, {"Content-Type: application/connect+json"});
    p.chunk(start_event(1));
    while (!p.closed_within(10) && p.chunk(data_event("tick\n")))
      ;
  }};
  client other{engine, {"other", lively.url(), lively.url(), "", key}};
  stream_handlers h;
  h.on_stdout = [&](std::string_view) {
    ticks.change([](int& n) { ++n; });
    return true;
  };
  h.on_end = [&](auto r) { broken += !r.ok() && r.err().code != errc::cancelled; };
  other.open_stream(box, argv({"yes"}), h);
  REQUIRE(ticks.until([](int n) { return n > 0; }));

  struct side {
    side(const way& w, const std::shared_ptr<http_engine>& e)
        : server(w.hang), api(e, {"test", server.url(), server.url(), "", key}, all_limits()) {}
    script_server server;
    client api;
    watched<std::vector<ended_call>> ended;
  };
  std::list<side> sides;
  for (const auto& w : ways()) {
    auto& x = sides.emplace_back(w, engine);
    walk calls{x.api, x.server.url(), dir.path,
               [&x](ended_call c) { x.ended.change([&](auto& all) { all.push_back(c); }); }};
    CHECK(calls.start() == operation_count);
  }
  const int before = ticks.get();
  auto names = ways();
  for (std::size_t i = 0; auto& x : sides) {
    INFO(names[i++].name);
    REQUIRE(x.ended.until([](auto& all) { return all.size() >= operation_count; }));
    std::set<operation> seen;
    for (auto& c : x.ended.get()) {
      INFO(to_string(c.op) << ": " << render(c.failure));
      seen.insert(c.op);
      CHECK(c.failure.code == errc::timed_out);
      CHECK(c.failure.step == to_string(c.op));
      CHECK(c.failure.message.find("300 ms") != std::string::npos);
      CHECK(c.took >= limit);
      CHECK(c.took < limit + 1000ms);
    }
    CHECK(seen.size() == operation_count);
  }
  CHECK(ticks.until([&](int n) { return n > before; }));
  CHECK(broken == 0);
  CHECK(dir.entries() == 1); // no half download stayed
}

TEST_CASE(
    "every operation has its documented deadline to the millisecond, of a clock that is not real") {
  scratch dir;
  std::ofstream{dir.path / "up"} << "x";
  still_clock::passed_ms = 0;
  watched<std::vector<ended_call>> ended; // outlives the engine
  engine_options options;
  options.requests_in_flight = options.in_flight_a_handle = 400;
  options.now = &still_clock::now;
  auto engine = std::make_shared<http_engine>(options);
  script_server silent{[](peer& p, const request&) { p.wait_closed(); }};
  const policy documented;
  client api{engine, {"test", silent.url(), silent.url(), "", key}, documented};
  walk calls{api, silent.url(), dir.path,
             [&](ended_call c) { ended.change([&](auto& all) { all.push_back(c); }); }};
  const auto real = clock_type::now();
  REQUIRE(calls.start() == operation_count);
  // All are on their way before the clock moves.
  for (int i = 0; i < 1000 && engine->stats().in_flight < operation_count; ++i)
    still_clock::set(*engine, 0ms);
  REQUIRE(engine->stats().in_flight == operation_count);
  std::map<std::chrono::milliseconds, std::set<operation>> due;
  for (std::size_t i = 0; i < operation_count; ++i) {
    auto op = static_cast<operation>(i);
    // A command's own limit counts from its start event, which has the limit of every stream's.
    due[documented.of(op == operation::run ? operation::open_stream : op).deadline].insert(op);
  }
  CHECK(due.rbegin()->first >= 300s);
  for (const auto& [at, ops] : due) {
    const auto before = ended.get().size();
    still_clock::set(*engine, at - 1ms);
    CHECK(ended.get().size() == before); // nothing ends early
    still_clock::set(*engine, at);
    const bool whole = ended.until([&](auto& all) { return all.size() >= before + ops.size(); });
    auto all = ended.get();
    std::string missing;
    for (auto op : ops)
      if (std::none_of(all.begin(), all.end(), [&](auto& c) { return c.op == op; }))
        missing += " " + std::string{to_string(op)};
    INFO("at " << at.count() << " ms not ended:" << missing);
    REQUIRE(whole);
    REQUIRE(all.size() == before + ops.size());
    for (std::size_t i = before; i < all.size(); ++i) {
      INFO(to_string(all[i].op) << " at " << at.count() << ": " << render(all[i].failure));
      CHECK(ops.contains(all[i].op));
      CHECK(all[i].failure.code == errc::timed_out);
      CHECK(all[i].failure.step == to_string(all[i].op));
    }
  }
  CHECK(ended.get().size() == operation_count);
  CHECK(clock_type::now() - real < 30s); // minutes of deadlines, and nobody waited for them
}

TEST_CASE("a stream that starts and then gives no whole message ends at its idle limit") {
  policy p;
  p.stream_idle = limit;
  fixture f{[](peer& x, const request&) {
              x.send(body_head + start_event(7));
              x.drip(std::string("\0\0\1\0", 4) + std::string(400, 'x'), 40);
            },
            p};
  std::promise<error> why;
  stream_handlers h;
  h.on_end = [&](auto r) { why.set_value(r.ok() ? error{} : r.err()); };
  const auto begin = clock_type::now();
  f.api.open_stream(box, argv({"x"}), h);
  auto e = value_of(why.get_future());
  CHECK(e.code == errc::timed_out);
  CHECK(e.step == "open_stream");
  CHECK(e.message.find("no message within 300 ms") != std::string::npos);
  CHECK(clock_type::now() - begin < limit + 1000ms);
}

TEST_CASE("a download that goes on may take as long as its caller allows, and a silent one ends "
          "after its operation's deadline") {
  scratch dir;
  still_clock::passed_ms = 0;
  watched<int> allowed{0}; // bytes that the server may send
  auto promise = std::make_shared<std::promise<result<std::uint64_t>>>();
  auto end = promise->get_future();
  script_server slow{[&](peer& p, const request&) {
    p.send("HTTP/1.1 200 x\r\nContent-Length: 4\r\n\r\n");
    for (int i = 1; i <= 4; ++i) {
      if (!allowed.until([i](int n) { return n >= i; })) return;
      p.send("x");
    }
  }};
  engine_options options;
  options.now = &still_clock::now;
  auto engine = std::make_shared<http_engine>(options);
  client api{engine, {"test", slow.url(), slow.url(), "", key}}; // 120 s for a download
  call_options within;
  within.deadline = 600s;
  api.download_file(box, "/x", dir.path / "down", 9999, within,
                    [promise](result<std::uint64_t> r) { promise->set_value(std::move(r)); });
  auto arrived = [&](int bytes, std::chrono::milliseconds at) {
    allowed.change([bytes](int& n) { n = bytes; });
    std::uintmax_t there = 0;
    const auto until = clock_type::now() + await_limit;
    while (there < static_cast<std::uintmax_t>(bytes) && clock_type::now() < until) {
      still_clock::set(*engine, at);
      there = 0;
      for (const auto& e : std::filesystem::directory_iterator{dir.path})
        there += e.file_size();
    }
    return there == static_cast<std::uintmax_t>(bytes);
  };
  REQUIRE(arrived(1, 0ms));
  SECTION("it goes on") {
    still_clock::set(*engine, 100s);
    REQUIRE(arrived(2, 100s));
    still_clock::set(*engine, 200s);
    REQUIRE(arrived(3, 200s));
    still_clock::set(*engine, 300s);
    allowed.change([](int& n) { n = 4; });
    auto size = value_of(std::move(end));
    REQUIRE(size.ok());
    CHECK(*size == 4);
    CHECK(dir.entries() == 1);
  }
  SECTION("it is silent") {
    still_clock::set(*engine, 120s - 1ms);
    CHECK(end.wait_for(0s) != std::future_status::ready); // no wait: a look
    still_clock::set(*engine, 120s);
    auto why = value_of(std::move(end));
    REQUIRE_FALSE(why.ok());
    CHECK(why.err().code == errc::timed_out);
    CHECK(why.err().step == "download_file");
    CHECK(why.err().message.find("silent for 120000 ms") != std::string::npos);
    CHECK(dir.entries() == 0); // no half download stayed
    allowed.change([](int& n) { n = 4; });
  }
}
