#include "transfer/scan_engine.hpp"

#include <cstdlib>
#include <exception>
#include <hs.h>
#include <string>
#include <utility>

namespace skep::transfer {

struct scan_engine::state {
  std::vector<scan_rule> rules;
  std::vector<std::size_t> width; ///< Bytes of a match where all have the same; else 0.
  hs_database_t* database = nullptr;
  hs_scratch_t* prototype = nullptr;

  state() = default;
  state(const state&) = delete;
  ~state() {
    hs_free_scratch(prototype);
    hs_free_database(database);
  }
};

namespace {

/// Checks that begin where the match ends, so that its start need not be known.
bool starts_at_end(scan_check c) {
  return c == scan_check::assigned || c == scan_check::named || c == scan_check::word;
}

error rejected(const scan_rule& rule, hs_compile_error_t* why) {
  std::string text = why ? why->message : "out of memory";
  hs_free_compile_error(why);
  return make_error(errc::scan_failed, "the rule " + std::string{rule.name}, text);
}

std::string unusable(hs_error_t code) {
  return "compiled rules are not taken, Hyperscan says " + std::to_string(code);
}

struct told {
  const scan_engine* engine;
  const std::vector<std::size_t>* width;
  const scan_scratch::on_match* f;
  std::exception_ptr thrown;
};

int tell(unsigned id, unsigned long long from, unsigned long long to, unsigned, void* context) {
  auto& t = *static_cast<told*>(context);
  auto end = static_cast<std::size_t>(to);
  auto width = (*t.width)[id];
  auto begin = width > 0 ? end - width : static_cast<std::size_t>(from);
  if (starts_at_end(t.engine->rules()[id].check)) begin = end - 1;
  try { // not through C
    (*t.f)(id, begin, end);
    return 0;
  } catch (...) {
    t.thrown = std::current_exception();
    return 1;
  }
}

} // namespace

scan_engine::scan_engine(std::unique_ptr<state> s) : s_(std::move(s)) {}
scan_engine::~scan_engine() = default;

const std::vector<scan_rule>& scan_engine::rules() const {
  return s_->rules;
}

/// What Hyperscan is told of the rules, and what is known of their matches.
struct scan_engine::plan {
  std::unique_ptr<state> s = std::make_unique<state>();
  std::vector<const char*> patterns;
  std::vector<unsigned> flags, ids;

  /// Fills all but the database.
  error read(const std::vector<scan_rule>& rules);
};

error scan_engine::plan::read(const std::vector<scan_rule>& rules) {
  if (hs_valid_platform() != HS_SUCCESS)
    return make_error(errc::scan_failed, "this processor lacks what the scanner needs (SSSE3)");
  s->rules = rules;
  for (const auto& rule : s->rules) {
    hs_expr_info_t* info = nullptr;
    hs_compile_error_t* why = nullptr;
    if (hs_expression_info(rule.pattern, 0, &info, &why) != HS_SUCCESS) return rejected(rule, why);
    bool fixed = info->min_width == info->max_width;
    s->width.push_back(fixed ? info->min_width : 0);
    std::free(info); // allocated by malloc, as nothing else was set
    unsigned flag = 0;
    if (rule.check == scan_check::word)
      flag = HS_FLAG_SINGLEMATCH;
    else if (!fixed && !starts_at_end(rule.check))
      flag = HS_FLAG_SOM_LEFTMOST;
    flags.push_back(flag);
    ids.push_back(static_cast<unsigned>(ids.size()));
    patterns.push_back(rule.pattern);
  }
  return {};
}

result<scan_engine_ptr> scan_engine::finish(std::unique_ptr<state> s) {
  // Here Hyperscan looks whether this processor can do all that the database was made for.
  if (auto code = hs_alloc_scratch(s->database, &s->prototype); code != HS_SUCCESS)
    return make_error(errc::scan_failed, code == HS_NOMEM ? "out of memory" : unusable(code));
  return scan_engine_ptr{new scan_engine{std::move(s)}};
}

result<scan_engine_ptr> scan_engine::compile(const std::vector<scan_rule>& rules) {
  plan p;
  if (auto e = p.read(rules)) return e;
  hs_compile_error_t* why = nullptr;
  if (hs_compile_multi(p.patterns.data(), p.flags.data(), p.ids.data(),
                       static_cast<unsigned>(p.patterns.size()), HS_MODE_BLOCK, nullptr,
                       &p.s->database, &why)
      != HS_SUCCESS) {
    auto at = why && why->expression >= 0 ? static_cast<std::size_t>(why->expression) : 0;
    return rejected(p.s->rules[at], why);
  }
  return finish(std::move(p.s));
}

result<scan_engine_ptr> scan_engine::load(const std::vector<scan_rule>& rules,
                                          std::string_view compiled) {
  plan p;
  if (auto e = p.read(rules)) return e;
  auto code = hs_deserialize_database(compiled.data(), compiled.size(), &p.s->database);
  if (code != HS_SUCCESS) return make_error(errc::scan_failed, unusable(code));
  return finish(std::move(p.s));
}

result<std::string> scan_engine::compiled() const {
  char* bytes = nullptr;
  std::size_t size = 0;
  if (hs_serialize_database(s_->database, &bytes, &size) != HS_SUCCESS)
    return make_error(errc::scan_failed, "out of memory");
  std::string out(bytes, size);
  std::free(bytes);
  return out;
}

result<scan_scratch> scan_scratch::make(scan_engine_ptr engine) {
  scan_scratch out;
  hs_scratch_t* scratch = nullptr;
  if (hs_clone_scratch(engine->s_->prototype, &scratch) != HS_SUCCESS)
    return make_error(errc::scan_failed, "out of memory");
  out.scratch_ = scratch;
  out.engine_ = std::move(engine);
  return out;
}

scan_scratch::scan_scratch(scan_scratch&& other) noexcept
    : engine_(std::move(other.engine_)), scratch_(std::exchange(other.scratch_, nullptr)) {}

scan_scratch& scan_scratch::operator=(scan_scratch&& other) noexcept {
  std::swap(engine_, other.engine_);
  std::swap(scratch_, other.scratch_);
  return *this;
}

scan_scratch::~scan_scratch() {
  hs_free_scratch(static_cast<hs_scratch_t*>(scratch_));
}

result<void> scan_scratch::scan(std::string_view text, const on_match& f) {
  constexpr std::size_t most = 1u << 30;
  if (text.size() > most) return make_error(errc::scan_failed, "too much at once");
  told t{engine_.get(), &engine_->s_->width, &f, {}};
  auto code = hs_scan(engine_->s_->database, text.data(), static_cast<unsigned>(text.size()), 0,
                      static_cast<hs_scratch_t*>(scratch_), tell, &t);
  if (t.thrown) std::rethrow_exception(t.thrown);
  if (code != HS_SUCCESS)
    return make_error(errc::scan_failed, "Hyperscan ended with " + std::to_string(code));
  return {};
}

} // namespace skep::transfer
