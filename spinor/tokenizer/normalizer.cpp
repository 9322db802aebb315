#include "spinor/tokenizer/normalizer.h"

#include <algorithm>

#include "spinor/tokenizer/byte_alphabet.h"
#include "spinor/tokenizer/typed_json.h"
#include "spinor/tokenizer/utf8.h"

namespace spinor::tokenizer {
namespace {

using Step = Normalizer::Step;

struct PrependFields {
  std::string prepend;
  template <class Visitor>
  void fields(Visitor& v) {
    v("prepend", prepend, required);
  }
};

struct StripFields {
  bool strip_left = false, strip_right = false;
  template <class Visitor>
  void fields(Visitor& v) {
    v("strip_left", strip_left, required);
    v("strip_right", strip_right, required);
  }
};

std::string strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && is_white_space(character_at(text, 0).code))
    text.remove_prefix(character_at(text, 0).bytes);
  while (right && !text.empty() && is_white_space(character_before(text, text.size()).code))
    text.remove_suffix(character_before(text, text.size()).bytes);
  return std::string(text);
}

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

}  // namespace

// The rows of the table of types.
struct NormalizerParts {
  using Steps = std::vector<Step>;

  template <UnicodeForm form>
  static void unicode(const Json& json, const Place& place, Steps& steps) {
    read_part<NoFields>(json, place);
    steps.emplace_back(form);
  }
  static void prepend(const Json& json, const Place& place, Steps& steps) {
    steps.emplace_back(Normalizer::Prepend{read_part<PrependFields>(json, place).prepend});
  }
  static void replace(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<ReplaceFields>(json, place);
    steps.emplace_back(Normalizer::Replace{Regex::read(fields.pattern, place.key("pattern")), fields.content});
  }
  static void strip(const Json& json, const Place& place, Steps& steps) {
    const auto fields = read_part<StripFields>(json, place);
    steps.emplace_back(Normalizer::Strip{fields.strip_left, fields.strip_right});
  }
  static void byte_level(const Json& json, const Place& place, Steps& steps) {
    read_part<NoFields>(json, place);
    steps.emplace_back(Normalizer::Bytes{});
  }
  static void sequence(const Json& json, const Place& place, Steps& steps);
  static constexpr PartType<Step> kTypes[] = {{"Sequence", sequence},
                                              {"NFC", unicode<UnicodeForm::nfc>},
                                              {"NFD", unicode<UnicodeForm::nfd>},
                                              {"NFKC", unicode<UnicodeForm::nfkc>},
                                              {"NFKD", unicode<UnicodeForm::nfkd>},
                                              {"Prepend", prepend},
                                              {"Replace", replace},
                                              {"Strip", strip},
                                              {"ByteLevel", byte_level}};
};

void NormalizerParts::sequence(const Json& json, const Place& place, Steps& steps) {
  read_sequence<Step>(json, "normalizers", kTypes, place, steps);
}

Normalizer Normalizer::read(const Json& json, const Place& place) {
  Normalizer normalizer;
  if (!json.is_null()) read_steps<Step>(json, NormalizerParts::kTypes, place, normalizer.steps_);
  return normalizer;
}

std::string Normalizer::apply(std::string text) const {
  for (const Step& step : steps_) {
    text = std::visit(Overloaded{
                          [&](UnicodeForm form) { return normalize_unicode(text, form); },
                          [&](const Prepend& prepend) { return text.empty() ? text : prepend.text + text; },
                          [&](const Replace& replace) { return replace.pattern.replace_all(text, replace.content); },
                          [&](const Strip& sides) { return strip(text, sides.left, sides.right); },
                          [&](Bytes) {
                            std::string bytes;
                            append_as_alphabet(bytes, text);
                            return bytes;
                          },
                      },
                      step);
  }
  return text;
}

bool Normalizer::keeps_start() const {
  return std::ranges::all_of(steps_, [](const Step& step) {
    if (const auto* replace = std::get_if<Replace>(&step))
      return !replace->content.empty() && single_character(replace->pattern.text()).has_value();
    return std::holds_alternative<UnicodeForm>(step);
  });
}

}  // namespace spinor::tokenizer
