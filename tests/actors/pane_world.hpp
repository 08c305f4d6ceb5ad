// The PANE alone, as scripts see it: its SANDBOX and its poller are the test.
#pragma once

#include "actors/pane.hpp"
#include "tests/actors/domain_fixture.hpp"

namespace skep::test {

struct pane_world : world {
  pane_record rec;
  pane_actor pane;

  pane_world() {
    rec.pane = {"pn_a"};
    rec.sandbox = ctx->sandbox;
    rec.swarm = ctx->swarm;
    rec.name = "p0";
    api->boxes["i1"].info.remote_id = "i1";
    ctx->address({"i1"});
    ctx->recorder(v.root(spawn_recorder(v.sys, ctx->swarm, ctx->sandbox, svc->handles)));
    ctx->keeper(v.root(v.sys.spawn(fake_keeper, &up)));
  }
  ~pane_world() {
    pane = nullptr;
    CHECK(end() == 0);
  }
  void begin() {
    under_supervisor({"pane", [this](caf::scheduled_actor* parent) {
                        pane = spawn_pane(parent, ctx, rec);
                        return caf::actor_cast<caf::strong_actor_ptr>(pane);
                      }});
    tell(begin_a::value);
  }
  template <class... Ts>
  void tell(Ts... xs) {
    caf::anon_send(pane, xs...);
    v.run();
  }
  void exit(std::int32_t code, std::uint32_t generation = 1, std::uint64_t size = 10) {
    tell(exited_a::value, follow_exit{rec.pane, generation, code, 0, size, {}});
  }
  /// Output of its first attempt, as the poller gives it, one piece after the other.
  void outputs(const std::string& bytes) {
    tell(output_a::value, std::uint32_t{1}, std::exchange(said_, said_ + bytes.size()), bytes);
  }
  /// What the poller has written of it.
  void log_holds(const std::string& bytes, std::uint32_t generation = 1) const {
    auto path = ctx->log_path(rec.pane, generation);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream{path, std::ios::binary | std::ios::app} << bytes;
  }
  void runs_claude() {
    spec->agent = agent_kind::claude;
    spec->argv.clear();
    spec->prompts = {"work"};
  }
  /// The agent's starts: the generation's folder of each.
  strings starts() const {
    strings out;
    for (const auto& c : api->calls)
      if (auto at = c.what.find(" pane --dir "); c.op == operation::run && at != c.what.npos) {
        auto dir = c.what.substr(at + 12, c.what.find(' ', at + 12) - at - 12);
        out.push_back(dir.substr(dir.rfind('/') + 1));
      }
    return out;
  }

private:
  std::uint64_t said_ = 0;
};

} // namespace skep::test
