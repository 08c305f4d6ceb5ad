// The SANDBOX with its real RECORDER, TRANSFERs, PANEs and pollers against a provider in memory, as
// scripts see it.
#pragma once

#include "actors/chunk_builder.hpp"
#include "tests/actors/domain_fixture.hpp"

namespace skep::test {

/// Until a note that nobody waits for is in the journal.
inline const caf::timespan notes_linger = actors::chunk_limits{}.linger;

struct sandbox_world : world {
  sandbox_start start;
  swarm_actor swarm;
  supervisor_actor parent;

  sandbox_world() {
    start.record.sandbox = ctx->sandbox;
    start.record.swarm = ctx->swarm;
    panes(1);
    auto bundle = std::make_shared<upload_bundle>();
    bundle->archive = tmp.file("tree.tar", "an archive");
    bundle->archive_parts = transfer::parts_of(bundle->archive.string(), 100).value();
    bundle->files = 3;
    bundle->size_bytes = 300;
    bundle->manifest_sha256 = "cafe";
    start.bundle = bundle;
    swarm = v.root(v.sys.spawn(fake_swarm, &up));
  }
  ~sandbox_world() {
    swarm = nullptr;
    parent = nullptr;
    CHECK(end() == 0);
  }
  void panes(std::uint32_t n) {
    spec->panes = n;
    start.panes.clear();
    for (std::uint32_t i = 0; i < n; ++i) {
      pane_record p;
      p.pane = {"pn_" + std::to_string(i)};
      p.index = i;
      p.name = "p" + std::to_string(i);
      p.branch = "skep/" + p.name;
      p.sandbox = ctx->sandbox;
      p.swarm = ctx->swarm;
      start.panes.push_back(p);
    }
  }
  void begin() {
    parent = under_supervisor(sandbox_child(ctx, start, [this] { return swarm; }));
    settle();
  }
  /// The record of a former daemon: in this phase, at the provider as i1.
  void recorded(phase at) {
    start.fresh = false;
    start.bundle = at < phase::starting ? start.bundle : nullptr;
    start.record.state = at;
    start.record.remote_id = "i1";
    start.record.intent = "former";
    start.record.base_commit = "b45e";
    auto& info = api->boxes["i1"].info;
    info.remote_id = "i1";
    info.address = {"i1", "token", ""};
  }
  void stop(stop_mode how) {
    caf::anon_send(ctx->keeper(), stop_a::value, how);
    settle();
  }
  template <class T>
  static std::string frame(follow_kind kind, const T& x) {
    std::string out;
    pack_follow(out, kind, x);
    return out;
  }
  void output(const std::string& pane, std::uint64_t offset, const std::string& data) {
    api->streams.back()->emit(frame(follow_kind::data, follow_data{{pane}, 1, offset, {data}}));
    settle();
  }
  void exit(const std::string& pane, std::int32_t code = 0, std::uint64_t size = 0) {
    api->streams.back()->emit(frame(follow_kind::exit, follow_exit{{pane}, 1, code, 0, size, {}}));
    settle();
  }
  strings phases() const {
    strings out;
    for (const auto& e : all<phase_changed>())
      out.push_back(std::string{to_string(e.to)});
    return out;
  }
  /// The tables have its pane as it began, and closed without an exit once the journal says so.
  void tables_close_its_pane() {
    svc->load_panes = [this](const sandbox_id&) -> result<std::vector<pane_record>> {
      auto rows = start.panes;
      if (count("pane.closed") == 0) return rows;
      rows[0].state = pane_phase::closed;
      rows[0].exit_code = -1;
      return rows;
    };
  }
  /// The end, as the journal and the SWARM have it: "failed auth@create".
  std::string ending() {
    advance(1s);
    auto closed = all<sandbox_closed>();
    if (closed.size() != 1 || up.endings.size() != 1) return "not ended once";
    CHECK(up.endings[0].result == closed[0].result);
    CHECK(up.endings[0].why.code == closed[0].why.code);
    // Nothing of the sandbox comes after its end, so every pane's end came before.
    CHECK(events().back() == "sandbox.closed");
    CHECK(count("pane.closed") == start.panes.size());
    const auto& why = closed[0].why;
    return std::string{to_string(closed[0].result)}
           + (why ? " " + std::string{to_string(why.code)} + "@" + why.step : "");
  }
};

inline const strings whole_life = {"creating", "verifying", "provisioning", "uploading",
                                   "starting", "running",   "collecting"};

} // namespace skep::test
