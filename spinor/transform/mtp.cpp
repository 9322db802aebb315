#include "spinor/transform/mtp.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "spinor/transform/products.h"

namespace spinor {
namespace {

constexpr double kSame = 1e-12;  // two scales read from one stored type, and divided

struct Range {
  double low = 0, high = 0;
  bool constant() const { return high - low <= kSame * std::max(std::abs(low), std::abs(high)); }
};

Range range_of(const std::vector<double>& x) {
  const auto [low, high] = std::ranges::minmax(x);
  return {low, high};
}

double rms(const std::vector<double>& x) {
  double sum = 0;
  for (const double entry : x) sum += entry * entry;
  return std::sqrt(sum / static_cast<double>(x.size()));
}

// How far from constant: the standard deviation in percent of the rms.
double spread(const std::vector<double>& x) {
  double mean = 0;
  for (const double entry : x) mean += entry / static_cast<double>(x.size());
  return 100 * std::sqrt(std::max(0.0, 1 - mean * mean / (rms(x) * rms(x))));
}

std::vector<double> ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> r(a.size());
  for (size_t i = 0; i < a.size(); ++i) r[i] = a[i] / b[i];
  return r;
}

bool is_plain(const Module& norm) {
  return norm.weight && !norm.bias && !norm.layer_norm;
}

std::string not_plain(const Model& model) {
  for (const NormReads& reads : model.stream().norm_reads)
    if ((reads.norm->role == Role::mtp || &reads == &model.stream().norm_reads.back()) && !is_plain(*reads.norm))
      return fmt::format("{} is not an RMS norm with a weight", reads.norm->name);
  return "";
}

FoldNorm factor(const Module& norm, bool inverse = false) {
  return {.norm = norm.weight->info.name, .offset = norm.offset, .inverse = inverse};
}

class Folding {
 public:
  explicit Folding(const Model& model)
      : model_(model), final_(*model.stream().norm_reads.back().norm), g_(scale_of(model, final_)) {
    for (const MtpHead& head : model.mtp_heads()) outputs_.push_back(scale_of(model, *head.output_norm));
  }

  MtpFolding make() {
    decide();
    if (result_.fit == MtpFit::impossible) return std::move(result_);
    for (size_t i = 0; i < outputs_.size(); ++i) add(model_.mtp_heads()[i], outputs_[i]);
    return std::move(result_);
  }

 private:
  bool reads_after() const { return !model_.architecture()->mtp->before_final_norm; }

  void decide() {
    const auto has_zero = [](const std::vector<double>& g) { return std::ranges::find(g, 0.0) != g.end(); };
    const bool zero = has_zero(g_) || std::ranges::any_of(outputs_, has_zero);
    const bool constant = range_of(g_).constant();
    result_.fit = reads_after() && constant ? MtpFit::kept : MtpFit::proportional;
    if (reads_after() && !constant)
      blame(fmt::format("{} reads the state after {}, whose scale is folded and not constant", concat(0), final_.name),
            g_);
    for (size_t i = 0; i < outputs_.size(); ++i)
      if (const std::vector<double> d = ratio(outputs_[i], g_); !range_of(d).constant())
        blame(
            fmt::format("{} is not {} times a constant, and what it scales is read by the head that {} is folded into",
                        model_.mtp_heads()[i].output_norm->name, final_.name, final_.name),
            d);
    if (!zero || result_.fit == MtpFit::kept) return;
    result_.fit = MtpFit::impossible;
    result_.reason = final_.name + " or an output norm scales by 0, which nothing undoes";
  }

  std::string concat(size_t head) const { return model_.mtp_heads()[head].writers.front()->name; }

  void blame(const std::string& why, const std::vector<double>& scale) {
    result_.fit = MtpFit::approximate;
    const auto [low, high] = range_of(scale);
    result_.reason += fmt::format("{}{} ({:.3g} to {:.3g}, spread {:.2g} %)", result_.reason.empty() ? "" : "; ", why,
                                  low, high, spread(scale));
  }

  void add(const MtpHead& head, const std::vector<double>& output) {
    const bool stretched = result_.fit == MtpFit::approximate;
    const std::vector<double> d = ratio(output, g_);
    const double level = stretched ? rms(d) : d.front();
    const std::vector<FoldNorm> undo = {factor(*head.output_norm, true), factor(final_)};
    for (const NormReads& reads : head.norm_reads) {
      MtpFolding::Read read{&reads, {}, 1};
      if (reads.norm == head.hidden_norm && stretched && reads_after()) {
        read.more = {factor(final_)};
        read.level = 1 / rms(g_);
      } else if (reads.norm == head.output_norm) {
        if (result_.fit == MtpFit::kept) continue;
        read.more = undo;
        read.level = level;
      } else if (stretched && !reads.columns) {
        read.more = undo;
        read.level = level;
      }
      result_.reads.push_back(std::move(read));
    }
    if (!stretched) return;
    for (const Module* writer : head.writers) result_.rows[writer] = {factor(*head.output_norm), factor(final_, true)};
  }

  const Model& model_;
  const Module& final_;
  std::vector<double> g_;
  std::vector<std::vector<double>> outputs_;
  MtpFolding result_;
};

}  // namespace

std::vector<double> scale_of(const Model& model, const Module& norm) {
  std::vector<double> g = values(model.checkpoint(), *norm.weight);
  for (double& entry : g) entry += norm.offset;
  return g;
}

std::vector<double> product_of(const Model& model, const std::vector<FoldNorm>& factors) {
  std::vector<double> product;
  for (const FoldNorm& factor : factors) {
    const std::vector<double> g = values(model.checkpoint(), model.checkpoint().at(factor.norm));
    product.resize(g.size(), 1);
    for (size_t i = 0; i < g.size(); ++i)
      product[i] *= factor.inverse ? 1 / (g[i] + factor.offset) : g[i] + factor.offset;
  }
  return product;
}

MtpFolding mtp_folding(const Model& model) {
  if (model.mtp_heads().empty()) return {};
  if (const std::string reason = not_plain(model); !reason.empty())
    return {.fit = MtpFit::impossible, .reason = reason};
  return Folding(model).make();
}

bool keeps(const MtpFolding& folding, const Model& model, const Module& norm) {
  return folding.fit == MtpFit::kept && &norm == model.stream().norm_reads.back().norm;
}

void fold_mtp(const MtpFolding& folding, RewritePlan& plan) {
  for (const auto& [reads, more, level] : folding.reads) {
    for (const Module* linear : reads->linears) {
      std::vector<FoldNorm> folds = {factor(*reads->norm)};
      folds.insert(folds.end(), more.begin(), more.end());
      for (FoldNorm& fold : folds) {
        fold.columns = reads->columns;
        plan.edit_weight(*linear, std::move(fold));
      }
    }
    plan.edit_weight(*reads->norm, Fill{level - reads->norm->offset});
  }
  for (const auto& [writer, factors] : folding.rows)
    for (FoldNorm fold : factors) {
      if (writer->bias) plan.edit_bias(*writer, fold);
      fold.rows = true;
      plan.edit_weight(*writer, std::move(fold));
    }
}

}  // namespace spinor
