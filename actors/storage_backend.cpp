#include "actors/storage_backend.hpp"

namespace skep::actors {
namespace {

class storage_backend : public journal_backend {
public:
  explicit storage_backend(storage::journal j)
      : journal_(std::move(j)), committed_(journal_.head()) {}
  result<void> begin() override { return journal_.begin(); }
  result<std::uint64_t> append(chunk& c) override {
    auto r = journal_.append(c);
    if (!r) return r.err();
    return r->first_seq;
  }
  result<void> commit() override {
    auto r = journal_.commit();
    if (r.ok()) committed_ = journal_.head();
    return r;
  }
  bool broken() const override { return journal_.broken(); }
  std::uint64_t head() const override { return committed_; }
  std::string stream_id() const override { return journal_.stream_id(); }

  // The lines of the audit log wait for their file without holding up anything else.
  std::optional<notice> word() override {
    const auto* log = journal_.audit();
    auto why = log ? log->failure() : error{};
    if (static_cast<bool>(why) == std::exchange(audit_fails_, static_cast<bool>(why))) return {};
    if (why)
      return notice{severity::warning, "audit_failed",
                    "lines of the audit log wait, since they cannot be written: " + render(why)};
    return notice{severity::info, "audit_written", "the audit log has all its lines again"};
  }

private:
  storage::journal journal_;
  std::uint64_t committed_ = 0;
  bool audit_fails_ = false; ///< As it was told last.
};

} // namespace

std::unique_ptr<journal_backend> wrap_journal(storage::journal j) {
  return std::make_unique<storage_backend>(std::move(j));
}

} // namespace skep::actors
