// The rules compiled into one automaton (Hyperscan), which reads every byte once whatever their
// number. It only finds where a look is worth it: scan_checks.hpp takes the look.
#pragma once

#include "messages/error.hpp"
#include "transfer/scan_rules.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace skep::transfer {

/// Immutable once made; shared by any number of threads, each with a scan_scratch of its own.
class scan_engine {
public:
  /// errc::scan_failed names the rule whose pattern is not accepted, or says that this processor is
  /// too old (Hyperscan needs SSSE3). Takes some tenths of a second.
  static result<std::shared_ptr<const scan_engine>>
  compile(const std::vector<scan_rule>& rules = scan_rules());
  /// The same from what compiled() gave for these very rules, in a hundredth of the time.
  /// errc::scan_failed when it is damaged, of another release of Hyperscan, or made for a processor
  /// that can do more than this one: then compile().
  static result<std::shared_ptr<const scan_engine>> load(const std::vector<scan_rule>& rules,
                                                         std::string_view compiled);
  /// That of scan_rules(), made once a process: from what was compiled when this program was built
  /// (scan_shared.cpp), else compiled now.
  static result<std::shared_ptr<const scan_engine>> shared();
  ~scan_engine();

  const std::vector<scan_rule>& rules() const;
  /// The automaton as bytes for load(). They must come from where code comes from: Hyperscan
  /// believes them. errc::scan_failed when memory is short.
  result<std::string> compiled() const;

private:
  friend class scan_scratch;
  struct state;
  struct plan;
  static result<std::shared_ptr<const scan_engine>> finish(std::unique_ptr<state> s);
  explicit scan_engine(std::unique_ptr<state> s);
  std::unique_ptr<state> s_;
};
using scan_engine_ptr = std::shared_ptr<const scan_engine>;

/// What scan_rules() compiled to when this program was built, for load().
std::string_view compiled_rules();

/// Working memory of one scan at a time.
class scan_scratch {
public:
  static result<scan_scratch> make(scan_engine_ptr engine);
  scan_scratch(scan_scratch&&) noexcept;
  scan_scratch& operator=(scan_scratch&&) noexcept;
  ~scan_scratch();

  /// Told of a match [from, to) of the rule with this index. Rules whose check starts at the end of
  /// a match get the last bytes of it alone.
  using on_match = std::function<void(std::size_t rule, std::size_t from, std::size_t to)>;
  /// Reads all of `text`, at most 1 GiB. One match may be told several times. errc::scan_failed.
  result<void> scan(std::string_view text, const on_match& f);

  const scan_engine& engine() const { return *engine_; }

private:
  scan_scratch() = default;
  scan_engine_ptr engine_;
  void* scratch_ = nullptr; ///< hs_scratch_t
};

} // namespace skep::transfer
