// The little of a shell that a rehearsal needs: words with quotes and variables, `;`, `&&`, `||`,
// pipes (each stage to its end before the next begins), `>`, `>>`, `<`, `2>&1`. No loops, no
// functions, no globbing, no background.
#include "host/sim/box.hpp"

#include <algorithm>

namespace skep::host::sim {
namespace {

struct word {
  std::string text;
  bool is_operator = false;
};

struct syntax_error {
  std::string what;
};

struct stage {
  std::vector<std::string> argv;
  std::string from, to;
  bool append = false, errors_too = false;
};

struct shell_state {
  string_map env;
  std::string cwd;
  int status = 0;
  bool over = false;
};

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class reader {
public:
  reader(std::string_view text, const shell_state& sh) : text_(text), sh_(sh) {}

  /// The words of one command line up to `;`, newline, `&&` or `||`, which is put in `end`.
  std::vector<word> next(std::string& end) {
    std::vector<word> out;
    end.clear();
    while (at_ < text_.size()) {
      auto c = text_[at_];
      if (c == ' ' || c == '\t') {
        ++at_;
      } else if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (take("&&") || take("||")) {
        end = std::string{text_.substr(at_ - 2, 2)};
        return out;
      } else if (c == ';' || c == '\n') {
        ++at_;
        end = ";";
        return out;
      } else if (take("2>&1") || take(">>")) {
        out.push_back({text_[at_ - 1] == '1' ? "2>&1" : ">>", true});
      } else if (c == '|' || c == '<' || c == '>') {
        ++at_;
        out.push_back({std::string{c}, true});
      } else if (c == '&' || c == '(' || c == ')' || c == '`') {
        throw syntax_error{std::string{"the simulator's shell has no "} + c};
      } else {
        out.push_back({take_word(), false});
      }
    }
    return out;
  }
  bool done() const { return at_ >= text_.size(); }

private:
  bool take(std::string_view what) {
    if (text_.substr(at_, what.size()) != what) return false;
    at_ += what.size();
    return true;
  }
  std::string variable() {
    if (at_ < text_.size() && text_[at_] == '?') {
      ++at_;
      return std::to_string(sh_.status);
    }
    bool braces = at_ < text_.size() && text_[at_] == '{';
    if (braces) ++at_;
    auto begin = at_;
    while (at_ < text_.size() && is_name(text_[at_]))
      ++at_;
    std::string name{text_.substr(begin, at_ - begin)};
    if (braces && (at_ >= text_.size() || text_[at_++] != '}'))
      throw syntax_error{"the simulator's shell knows ${NAME} only"};
    if (name.empty()) return "$";
    auto i = sh_.env.find(name);
    return i == sh_.env.end() ? std::string{} : i->second;
  }
  std::string take_word() {
    std::string out;
    char quote = 0;
    for (; at_ < text_.size(); ++at_) {
      auto c = text_[at_];
      if (quote == 0 && std::string_view{" \t\n;|&<>()"}.find(c) != std::string_view::npos) break;
      if (quote == 0 && (c == '"' || c == '\'')) {
        quote = c;
      } else if (c == quote) {
        quote = 0;
      } else if (c == '\\' && quote != '\'' && at_ + 1 < text_.size()) {
        auto next = text_[++at_];
        if (quote == '"' && std::string_view{"\"\\$`"}.find(next) == std::string_view::npos)
          out += '\\';
        out += next;
      } else if (c == '$' && quote != '\'') {
        ++at_;
        out += variable();
        --at_;
      } else {
        out += c;
      }
    }
    if (quote != 0) throw syntax_error{"a quote is not closed"};
    return out;
  }

  std::string_view text_;
  const shell_state& sh_;
  std::size_t at_ = 0;
};

std::vector<stage> stages_of(const std::vector<word>& words) {
  std::vector<stage> out(1);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& w = words[i];
    auto& s = out.back();
    if (!w.is_operator) {
      s.argv.push_back(w.text);
    } else if (w.text == "|") {
      out.emplace_back();
    } else if (w.text == "2>&1") {
      s.errors_too = true;
    } else {
      if (i + 1 >= words.size() || words[i + 1].is_operator)
        throw syntax_error{"nothing after " + w.text};
      (w.text == "<" ? s.from : s.to) = words[++i].text;
      s.append = w.text == ">>";
    }
  }
  for (const auto& s : out)
    if (s.argv.empty()) throw syntax_error{"an empty command"};
  return out;
}

/// What only the shell itself can do. False: it is none of these.
bool built_in(shell_state& sh, const program& p, const stage& s) {
  const auto& argv = s.argv;
  auto equals = argv[0].find('=');
  if (argv[0] == "cd") {
    auto to = normal_path(sh.cwd, argv.size() > 1 ? argv[1] : home_path);
    sh.status = p.home->files.is_directory(to) ? 0 : 1;
    if (sh.status == 0) sh.cwd = to;
  } else if (argv[0] == "export" || (equals != argv[0].npos && equals > 0 && argv.size() == 1)) {
    const auto& set = argv.back();
    if (auto at = set.find('='); at != set.npos) sh.env[set.substr(0, at)] = set.substr(at + 1);
    sh.status = 0;
  } else if (argv[0] == "exit") {
    if (argv.size() > 1) sh.status = std::atoi(argv[1].c_str()) & 0xff;
    sh.over = true;
  } else {
    return argv[0] == ":" || argv[0] == "set";
  }
  return true;
}

/// Runs the stages one after another in `p`, whose own fields are put back afterwards.
task<void> run_stages(program_ptr p, shell_state& sh, std::vector<stage> stages) {
  auto argv = p->argv;
  auto env = p->env;
  auto cwd = p->cwd;
  auto sink = p->sink;
  std::optional<std::string> between;
  for (std::size_t i = 0; i < stages.size() && p->signalled() == 0; ++i) {
    auto& s = stages[i];
    if (stages.size() == 1 && built_in(sh, *p, s)) break;
    bool last = i + 1 == stages.size();
    auto kept = std::make_shared<std::string>();
    bool keep_out = !last || !s.to.empty();
    p->sink = [sink, kept, keep_out, both = s.errors_too](channel to,
                                                          std::string text) -> task<void> {
      // Everything needed later is on this frame: the function object may go meanwhile.
      auto pass = sink;
      if (to == channel::err && both) to = channel::out;
      if (to == channel::out && keep_out)
        kept->append(text);
      else
        co_await pass(to, std::move(text));
    };
    p->piped = std::exchange(between, std::nullopt);
    if (!s.from.empty()) {
      auto n = p->home->files.find(normal_path(sh.cwd, s.from));
      p->piped = n && n->data ? *n->data : std::string{};
    }
    p->argv = s.argv;
    p->env = sh.env;
    p->cwd = sh.cwd;
    sh.status = co_await run_program(p);
    p->piped.reset();
    if (!s.to.empty()) {
      auto target = normal_path(sh.cwd, s.to);
      if (s.append)
        p->home->files.append(target, *kept);
      else if (target != "/dev/null")
        p->home->files.write(target, kept);
    } else if (!last) {
      between = std::move(*kept);
    }
  }
  p->argv = std::move(argv);
  p->env = std::move(env);
  p->cwd = std::move(cwd);
  p->sink = std::move(sink);
}

task<void> run_text(program_ptr p, shell_state& sh, std::string text) {
  reader in{text, sh};
  std::string failure, join = ";", end;
  while (!in.done() && !sh.over && p->signalled() == 0) {
    std::vector<stage> stages;
    try {
      auto words = in.next(end);
      if (!words.empty()) stages = stages_of(words);
    } catch (const syntax_error& e) {
      failure = e.what;
    }
    if (!failure.empty()) {
      co_await p->write(channel::err, "sh: " + failure + "\n");
      sh.status = 2;
      sh.over = true;
      co_return;
    }
    bool wanted = join == ";" || (join == "&&") == (sh.status == 0);
    if (wanted && !stages.empty()) co_await run_stages(p, sh, std::move(stages));
    join = end;
  }
}

} // namespace

task<int> run_shell(program_ptr p) {
  shell_state sh{p->env, p->cwd, 0, false};
  auto c = std::find_if(p->argv.begin() + 1, p->argv.end(), [](const std::string& a) {
    return a.starts_with('-') && a.ends_with('c');
  });
  if (c != p->argv.end() && c + 1 != p->argv.end()) {
    auto text = *(c + 1);
    co_await run_text(p, sh, std::move(text));
    co_return sh.status;
  }
  // Interactive: a command a line.
  while (!sh.over && p->signalled() == 0) {
    auto line = co_await p->read_line();
    if (line.empty()) break;
    co_await run_text(p, sh, std::move(line));
  }
  co_return sh.status;
}

} // namespace skep::host::sim
