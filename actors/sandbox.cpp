#include "actors/sandbox.hpp"

#include "actors/output_poller.hpp"
#include "actors/pane.hpp"
#include "actors/pane_set.hpp"
#include "actors/recorder.hpp"
#include "actors/sandbox_birth.hpp"
#include "actors/sandbox_steps.hpp"
#include "transfer/results.hpp"

namespace skep::actors {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

class sandbox_impl : public domain_actor<sandbox_actor> {
public:
  sandbox_impl(caf::actor_config& cfg, context_ptr context, sandbox_start start,
               std::function<swarm_actor()> swarm, supervisor_actor supervisor)
      : domain_actor(cfg), ctx_(std::move(context)), rec_(std::move(start.record)),
        panes_(std::move(start.panes)), bundle_(std::move(start.bundle)), fresh_(start.fresh),
        swarm_(std::move(swarm)), supervisor_(std::move(supervisor)) {}

  const char* name() const override { return "sandbox"; }

  behavior_type make_behavior() override {
    return {
        [this](begin_a) { fresh_ ? introduce() : resume(); },
        [this](stop_a, stop_mode how) { on_stop(how); },
        [this](input_a, const pane_id& pane, const std::string& key, const std::string& bytes) {
          return on_input(pane, key, bytes);
        },
        [this](ready_a, const pane_id& pane) { on_pane_ready(pane); },
        [this](exited_a, const pane_id& pane, outcome result, const error& why) {
          on_pane_closed(pane, result, why);
        },
        [this](note_a, const error& why) { on_output_lost(why); },
        [](done_a, const continuation& c) { c.run(); },
    };
  }

  void on_exit() override {
    supervisor_ = supervisor_actor{};
    swarm_ = nullptr;
    ctx_.reset();
  }

private:
  // ---- small helpers ----
  utc_time now() const { return ctx_->svc->wall_now(); }
  const policies& limits() const { return ctx_->svc->limits; }

  template <event E, class Next>
  void fact(const E& e, Next next) {
    record(
        ctx_->recorder(), now(), e, [next](std::uint64_t) mutable { next(); },
        [this](const error& why) { this->quit(to_caf(why)); }); // restarted: the tables know more
  }

  // Enters a phase (a fact) and goes on; phases only grow, entering an old one again is skipped.
  template <class Next>
  void enter(phase to, Next next) {
    if (rec_.state >= to) return next();
    auto spent = duration_cast<milliseconds>(now() - rec_.phase_since).count();
    fact(phase_changed{to, rec_.phase_since.time_since_epoch().count() > 0 ? spent : 0},
         [this, to, next] {
           rec_.state = to;
           rec_.phase_since = now();
           next();
         });
  }

  // Steps go on only while nobody asked for the end.
  bool ending() {
    if (!first_error_ && !stop_) return false;
    destroy();
    return true;
  }

  void fail(error e) {
    if (e.sandbox.empty()) e.sandbox = ctx_->sandbox;
    if (!first_error_) first_error_ = std::move(e);
    destroy();
  }

  template <class T, class Next>
  std::function<void(result<T>)> then_or_fail(Next next) {
    return home<T>([this, next](result<T> r) {
      if (!r) return fail(r.err());
      if (ending()) return;
      if constexpr (std::is_void_v<T>)
        next();
      else
        next(std::move(*r));
    });
  }

  // ---- queued, creating ----
  void introduce() {
    note(ctx_->recorder(), now(), sandbox_queued{ctx_->index, ctx_->spec->provider});
    const auto& all = panes_.all();
    for (std::size_t i = 0; i + 1 < all.size(); ++i)
      note(ctx_->recorder(), now(), created_event(all[i]));
    fact(created_event(all.back()), [this] {
      rec_.phase_since = now();
      create();
    });
  }

  static pane_created created_event(const pane_record& p) {
    return {p.pane, p.index, p.name, p.agent, p.branch};
  }

  void create() {
    if (ending()) return;
    enter(phase::creating, [this] {
      auto intent = random_token(20);
      auto request = create_request(*ctx_, intent);
      if (!request) return fail(at_step(request.err(), "create"));
      rec_.intent = intent;
      fact(create_intended{intent, ctx_->spec->template_name,
                           duration_cast<milliseconds>(limits().create_lease).count()},
           [this, request = std::move(*request)] {
             ctx_->api->create(request, home<sandbox::created>([this](result<sandbox::created> r) {
                                 on_created(std::move(r));
                               }));
           });
    });
  }

  void on_created(result<sandbox::created> r) {
    if (!r && !create_is_settled(r.err())) {
      create_error_ = r.err();
      looks_ = 0;
      return look_for_create();
    }
    if (!r)
      return fact(create_failed{rec_.intent, r.err()},
                  [this, e = r.err()] { fail(at_step(e, "create")); });
    born(std::move(*r));
  }

  void born(sandbox::created made) {
    rec_.remote_id = made.address.remote_id;
    ctx_->address(made.address);
    fact(sandbox_created{rec_.intent, rec_.remote_id, made.envd_version}, [this] {
      if (!ending()) verify();
    });
  }

  // The create may have happened: it is found by its label, or declared failed after some full
  // lists without it; then a new intent is a new try. A twin that appears later dies of its short
  // lease, or by the REAPER, which knows our label.
  void look_for_create() {
    find_by_intent(ctx_, rec_.intent, home<sandbox::created>([this](result<sandbox::created> r) {
                     if (r.ok()) return born(std::move(*r));
                     if (r.err().code == errc::protocol) // whoever answers there is no provider
                       return fact(create_failed{rec_.intent, create_error_},
                                   [this] { fail(at_step(create_error_, "create")); });
                     // A list that failed says nothing; it is asked for again, but not for ever.
                     ++(r.err().code == errc::not_found ? looks_ : failed_looks_);
                     if (looks_ < limits().settle_looks && failed_looks_ < limits().settle_failures)
                       return later(limits().settle_interval, [this] { look_for_create(); });
                     fact(create_failed{rec_.intent, create_error_}, [this] { create_again(); });
                   }));
  }

  void create_again() {
    looks_ = failed_looks_ = 0;
    if (++creates_ >= limits().step_attempts) return fail(at_step(create_error_, "create"));
    create();
  }

  // ---- re-adoption ----
  void resume() {
    if (rec_.state == phase::closed) return report(rec_.result, {});
    if (rec_.remote_id.empty()) {
      if (!rec_.unresolved) return create();
      create_error_ = make_error(errc::timed_out, "the daemon ended before the answer");
      return look_for_create();
    }
    // GET, never connect: connect would resume and extend.
    ctx_->api->get(rec_.remote_id, home<sandbox::detail>([this](result<sandbox::detail> r) {
                     if (r.ok()) {
                       ctx_->address(r->address);
                       return resume_phase();
                     }
                     if (r.err().code == errc::not_found) return lost(r.err());
                     if (++looks_ < limits().step_attempts * 4)
                       return later(limits().settle_interval, [this] { resume(); });
                     fail(at_step(r.err(), "adopt"));
                   }));
  }

  void resume_phase() {
    if (rec_.kill_intended) return destroy();
    switch (rec_.state) {
    case phase::starting:
    case phase::running:
      return start_panes();
    case phase::draining:
      start_panes();
      return on_stop(stop_mode::graceful);
    case phase::collecting:
      return stop_leftovers(ctx_, then_or_fail<void>([this] { collect(); }));
    default:
      return stop_leftovers(ctx_, then_or_fail<void>([this] { verify(); }));
    }
  }

  void lost(error why) {
    lost_ = true;
    fail(at_step(std::move(why), "adopt"));
  }

  // ---- verifying, provisioning, uploading ----
  void verify() {
    enter(phase::verifying, [this] {
      verify_inside(ctx_, then_or_fail<inside_facts>([this](inside_facts) { provision(); }));
    });
  }

  void provision() {
    enter(phase::provisioning,
          [this] { provision_guest(ctx_, then_or_fail<void>([this] { extend_lease(); })); });
  }

  void extend_lease() {
    auto lease = duration_cast<std::chrono::seconds>(milliseconds{ctx_->spec->limit_ms})
                 + limits().lease_grace;
    fact(lease_intended{now() + lease}, [this, lease] {
      ctx_->api->set_timeout(rec_.remote_id, lease, then_or_fail<void>([this] { upload(); }));
    });
  }

  void upload() {
    enter(phase::uploading, [this] {
      if (!bundle_)
        return fail(at_step(make_error(errc::internal, "there is nothing to upload"), "upload"));
      auto id = transfer_id::make();
      fact(
          transfer_intended{
              id, transfer_direction::upload, {}, bundle_->files, bundle_->size_bytes},
          [this, id] {
            std::vector<std::string> names;
            for (const auto& p : panes_.all())
              names.push_back(p.name);
            upload_tree(ctx_, bundle_, std::move(names),
                        home<upload_facts>(
                            [this, id](result<upload_facts> r) { on_uploaded(id, std::move(r)); }));
          });
    });
  }

  void on_uploaded(const transfer_id& id, result<upload_facts> r) {
    if (!r) return fact(transfer_failed{id, r.err()}, [this, e = r.err()] { fail(e); });
    rec_.base_commit = r->base_commit;
    note(ctx_->recorder(), now(),
         transfer_done{id, bundle_->files, bundle_->size_bytes, bundle_->manifest_sha256});
    fact(base_recorded{r->base_commit, r->is_head, bundle_->files, bundle_->size_bytes,
                       bundle_->manifest_sha256},
         [this] {
           if (!ending()) start_panes();
         });
  }

  // ---- starting, running ----
  void start_panes() {
    enter(phase::starting, [this] {
      std::vector<std::pair<pane_id, std::uint32_t>> known;
      for (const auto& p : panes_.all()) {
        for (std::uint32_t g = 1; g <= p.attempt; ++g)
          known.emplace_back(p.pane, g);
        add_child(pane_child(p));
      }
      // After the panes: the poller believes only panes that exist.
      add_child({"poller",
                 [ctx = ctx_, known](caf::scheduled_actor* parent) {
                   return spawn_output_poller(parent, ctx, known);
                 },
                 restart_kind::permanent});
      check_panes();
    });
  }

  // When this actor was restarted its supervisor has already restarted what stood behind it.
  void add_child(child_spec child) {
    request(supervisor_, std::chrono::seconds{30}, add_child_a::value, std::move(child))
        .then([](const caf::strong_actor_ptr&) {},
              [this](caf::error& e) {
                if (auto why = from_caf(e); why.code != errc::exists)
                  fail(at_step(std::move(why), "start"));
              });
  }

  child_spec pane_child(const pane_record& p) {
    auto first = std::make_shared<std::optional<pane_record>>(p); // the first start takes it
    return {
        "pane-" + p.name,
        [ctx = ctx_, id = p.pane, first](caf::scheduled_actor* parent) -> caf::strong_actor_ptr {
          auto record = std::exchange(*first, std::nullopt);
          if (!record) { // a restarted actor starts from what is on disk
            auto rows = ctx->svc->load_panes(ctx->sandbox);
            if (!rows) return nullptr;
            for (auto& row : *rows)
              if (row.pane == id) record = std::move(row);
            if (!record) return nullptr;
          }
          auto h = spawn_pane(parent, ctx, std::move(*record));
          ctx->pane(id, h);
          caf::anon_send(h, begin_a::value);
          return caf::actor_cast<caf::strong_actor_ptr>(h);
        },
        restart_kind::transient};
  }

  void on_pane_ready(const pane_id& pane) {
    panes_.ready(pane);
    check_panes();
  }

  void on_pane_closed(const pane_id& pane, outcome result, const error& why) {
    if (!panes_.closed(pane, result, why)) return;
    if (destroying_) return finish_when_quiet();
    auto out = panes_.out();
    if (!out.empty() && !panes_.all_closed() && !stop_)
      note(ctx_->recorder(), now(), sandbox_degraded{std::move(out)});
    check_panes();
  }

  void check_panes() {
    if (destroying_ || moving_) return;
    auto go = [this](phase to, auto next) {
      moving_ = true;
      enter(to, [this, next] {
        moving_ = false;
        next();
      });
    };
    if (rec_.state == phase::starting && panes_.all_settled())
      return go(phase::running, [this] { check_panes(); });
    if ((rec_.state == phase::running || rec_.state == phase::draining) && panes_.all_closed())
      return go(phase::collecting, [this] { collect(); });
    if (rec_.state == phase::running && stop_) go(phase::draining, [this] { check_panes(); });
  }

  void on_output_lost(const error& why) {
    if (destroying_) return;
    ctx_->api->get(rec_.remote_id, home<sandbox::detail>([this, why](result<sandbox::detail> r) {
                     if (!r && r.err().code == errc::not_found) return lost(r.err());
                     fail(why);
                   }));
  }

  caf::result<std::uint64_t> on_input(const pane_id& pane, const std::string& key,
                                      const std::string& bytes) {
    auto h = ctx_->pane(pane);
    if (!h) return to_caf(make_error(errc::wrong_phase, "the pane has not started yet"));
    auto promise = make_response_promise<std::uint64_t>();
    request(h, record_deadline, input_a::value, key, bytes)
        .then([promise](std::uint64_t seq) mutable { promise.deliver(seq); },
              [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
    return promise;
  }

  // ---- stopping ----
  void on_stop(stop_mode how) {
    if (destroying_ || rec_.state == phase::closed) return;
    auto first = !stop_;
    if (first || how == stop_mode::kill) stop_ = how;
    if (how == stop_mode::kill) return destroy();
    if (!first) return;
    if (rec_.state >= phase::starting) {
      for (const auto& p : panes_.all())
        if (auto h = ctx_->pane(p.pane)) caf::anon_send(h, stop_a::value, how);
      check_panes();
    }
    // Before that every step looks at stop_ when it ends.
  }

  // ---- collecting ----
  void collect() {
    collect_next_ = 0;
    next_download();
  }

  void next_download() {
    auto count = ctx_->spec->share_tree ? std::size_t{1} : panes_.all().size();
    if (destroying_) return;
    if (collect_next_ == count) return destroy();
    const auto& p = panes_.all()[collect_next_++];
    auto id = transfer_id::make();
    auto tree = ctx_->spec->share_tree ? "sandbox-" + std::to_string(ctx_->index) : p.name;
    fact(transfer_intended{id, transfer_direction::download,
                           ctx_->spec->share_tree ? pane_id{} : p.pane, 0, 0},
         [this, id, tree, pane_name = p.name] {
           auto folder = ctx_->svc->state_dir / "work" / ctx_->swarm.value / ctx_->sandbox.value;
           std::error_code ec;
           std::filesystem::create_directories(folder, ec);
           collect_tree(ctx_, ctx_->spec->share_tree ? tree : pane_name, rec_.base_commit, folder,
                        home<collected>([this, id, tree](result<collected> r) {
                          if (!r) return download_failed(id, r.err());
                          unpack_results(id, tree, std::move(*r));
                        }));
         });
  }

  // The sandbox's archive is hostile until proven otherwise: transfer/ unpacks it with confinement.
  void unpack_results(const transfer_id& id, const std::string& tree, collected got) {
    auto out_dir = std::filesystem::path{ctx_->spec->out_dir} / ctx_->swarm.value;
    in_pool<transfer::pane_changes>(
        ctx_->svc,
        [got, out_dir, tree]() -> result<transfer::pane_changes> {
          auto claim = transfer::parse_diff_summary(got.summary);
          if (!claim) return claim.err();
          std::error_code ec;
          std::filesystem::create_directories(out_dir, ec);
          std::filesystem::remove_all(out_dir / tree, ec); // what an earlier attempt left half done
          return transfer::collect_pane(got.patch, got.archive, out_dir, tree, *claim);
        },
        [this, id](result<transfer::pane_changes> r) {
          if (!r) return download_failed(id, r.err());
          fact(transfer_done{id, r->files.files.size(), r->summary.patch_bytes,
                             r->summary.patch_sha256},
               [this] { next_download(); });
        });
  }

  void download_failed(const transfer_id& id, error why) {
    why.sandbox = ctx_->sandbox;
    if (!first_error_) first_error_ = why;
    fact(transfer_failed{id, std::move(why)}, [this] { next_download(); });
  }

  // ---- the end ----
  void destroy() {
    if (std::exchange(destroying_, true)) return;
    // Its stream would only break when the sandbox goes.
    request(supervisor_, std::chrono::seconds{30}, del_child_a::value, std::string{"poller"})
        .then([] {}, [](caf::error&) {});
    for (const auto& p : panes_.all()) {
      if (p.state == pane_phase::closed) continue;
      if (auto h = ctx_->pane(p.pane))
        caf::anon_send(h, stop_a::value, stop_mode::kill);
      else
        close_unborn(p);
    }
    kept_ = ctx_->spec->keep && !rec_.remote_id.empty() && !lost_ && !first_error_
            && stop_ != stop_mode::kill;
    if (rec_.remote_id.empty() || lost_ || kept_) {
      gone_ = true;
      return finish_when_quiet();
    }
    fact(kill_intended{first_error_ ? std::string{to_string(first_error_.code)}
                                    : std::string{"done"}},
         [this] { kill(); });
  }

  // Its actor never came to be, so nobody else will say how it ended.
  void close_unborn(const pane_record& p) {
    auto result = first_error_ ? outcome::failed : outcome::cancelled;
    record(
        ctx_->recorder(), now(),
        pane_closed{p.pane, result, first_error_, p.attempt, p.final_offset},
        [this, id = p.pane, result](std::uint64_t) {
          panes_.closed(id, result, {});
          finish_when_quiet();
        },
        [this](const error& why) { this->quit(to_caf(why)); });
  }

  void kill() {
    ctx_->api->kill(rec_.remote_id, home<bool>([this](result<bool> r) {
                      if (r.ok())
                        return fact(kill_confirmed{rec_.remote_id}, [this] {
                          gone_ = true;
                          finish_when_quiet();
                        });
                      if (++kills_ < limits().kill_attempts)
                        return later(limits().kill_retry, [this] { kill(); });
                      gone_ = true; // the intent is on disk: the REAPER goes on
                      finish_when_quiet();
                    }));
  }

  // The sandbox's last event comes after the last words of its panes.
  void finish_when_quiet() {
    if (!gone_ || !panes_.all_closed() || std::exchange(finishing_, true)) return;
    error why = first_error_;
    auto result = outcome::failed;
    if (lost_)
      result = outcome::lost;
    else if (first_error_)
      result = outcome::failed;
    else if (stop_)
      result = *stop_ == stop_mode::kill        ? outcome::killed
               : *stop_ == stop_mode::timed_out ? outcome::timed_out
                                                : outcome::cancelled;
    else
      result = panes_.verdict(why);
    if (stop_ == stop_mode::timed_out && !why)
      why = make_error(errc::timed_out, "the time limit of the run was reached");
    if (why) why.sandbox = ctx_->sandbox;
    fact(sandbox_closed{result, why, kept_}, [this, result, why] {
      rec_.state = phase::closed;
      report(result, why);
    });
  }

  void report(outcome result, const error& why) {
    if (auto swarm = swarm_())
      caf::anon_send(swarm, exited_a::value, sandbox_ending{ctx_->sandbox, result, why});
  }

  static error at_step(error e, const char* step) {
    if (e.step.empty()) e.step = step;
    return e;
  }

  context_ptr ctx_;
  sandbox_record rec_;
  pane_set panes_;
  std::shared_ptr<const upload_bundle> bundle_;
  bool fresh_ = true;
  std::function<swarm_actor()> swarm_;
  supervisor_actor supervisor_;
  error first_error_;
  error create_error_;
  std::optional<stop_mode> stop_;
  std::uint32_t looks_ = 0;
  std::uint32_t failed_looks_ = 0;
  std::uint32_t creates_ = 0;
  std::uint32_t kills_ = 0;
  std::size_t collect_next_ = 0;
  bool moving_ = false;
  bool lost_ = false;
  bool kept_ = false;
  bool destroying_ = false;
  bool gone_ = false;
  bool finishing_ = false;
};

caf::strong_actor_ptr spawn_sandbox(caf::scheduled_actor* parent, const context_ptr& context,
                                    sandbox_start start,
                                    const std::function<swarm_actor()>& swarm) {
  auto h = parent->spawn<sandbox_impl>(context, std::move(start), swarm,
                                       caf::actor_cast<supervisor_actor>(parent));
  context->keeper(h);
  caf::anon_send(h, begin_a::value);
  return caf::actor_cast<caf::strong_actor_ptr>(h);
}

} // namespace

child_spec sandbox_child(context_ptr context, sandbox_start start,
                         std::function<swarm_actor()> swarm) {
  auto path = "root/work/swarms/" + context->swarm.value + "/" + context->sandbox.value;
  child_spec recorder{"recorder",
                      [context](caf::scheduled_actor* parent) {
                        auto h = spawn_recorder(parent, context->swarm, context->sandbox,
                                                context->svc->handles);
                        context->recorder(h);
                        return caf::actor_cast<caf::strong_actor_ptr>(h);
                      },
                      restart_kind::permanent};
  auto first = std::make_shared<bool>(true);
  auto given =
      std::make_shared<const sandbox_start>(std::move(start)); // one for all copies of this
  child_spec keeper{
      "sandbox",
      [context, given, swarm, first](caf::scheduled_actor* parent) {
        auto mine = *given;
        if (!std::exchange(*first, false)) { // a restarted actor starts from what is on disk
          auto record = context->svc->load_sandbox(context->sandbox);
          auto panes = context->svc->load_panes(context->sandbox);
          if (record.ok() && panes.ok() && !panes->empty()) {
            mine.record = std::move(*record);
            mine.panes = std::move(*panes);
            mine.fresh = false;
          }
        }
        return spawn_sandbox(parent, context, std::move(mine), swarm);
      },
      restart_kind::permanent};
  return {context->sandbox.value,
          [context, path, recorder, keeper](caf::scheduled_actor* parent) {
            auto options = reported(context->svc, path);
            options.plan = strategy::rest_for_one;
            options.stop_together = false;
            auto h = spawn_supervisor(parent, options, {recorder, keeper});
            return caf::actor_cast<caf::strong_actor_ptr>(h);
          },
          restart_kind::temporary, std::chrono::seconds{10}};
}

} // namespace skep::actors
