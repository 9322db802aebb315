#include "spinor/verify/mtp.h"

#include <algorithm>
#include <cmath>

namespace spinor::verify {
namespace {

bool is_constant(const std::vector<double>& g) {
  return std::ranges::all_of(g, [&](double entry) { return entry == g.front(); });
}

const Module& final_norm(const Model& model) {
  return *model.stream().norm_reads.back().norm;
}

// Heads that are approximated have no norm left that is not constant; where no norm was folded, at least one is.
bool is_stretched(const Model& source, const Model& output, const MtpFolding& folding) {
  if (folding.fit != MtpFit::approximate || output.mtp_heads().empty()) return false;
  std::vector<const Module*> norms = {&final_norm(source)};
  for (const MtpHead& head : source.mtp_heads()) norms.push_back(head.output_norm);
  return std::ranges::all_of(norms, [&](const Module* norm) {
    const Module* twin = output.find(norm->name);
    return twin && twin->weight && is_constant(scale_of(output, *twin));
  });
}

void scale_columns(Matrix<double>& x, const std::vector<double>& by, double factor) {
  for (int64_t p = 0; p < x.rows; ++p)
    for (int64_t j = 0; j < x.cols; ++j) x(p, j) *= by[static_cast<size_t>(j)] * factor;
}

}  // namespace

MtpView::MtpView(const Model& source, const Model& output)
    : source_(source),
      output_(output),
      folding_(mtp_folding(source)),
      left_out_(output.mtp().empty()),
      stretched_(is_stretched(source, output, folding_)) {}

std::vector<Stream> MtpView::streams() const {
  std::vector<Stream> all;
  for (const Stream* stream : source_.streams()) {
    Stream& there = all.emplace_back(*stream);
    std::erase_if(there.writers, [&](const Module* writer) { return left_out(*writer); });
    std::erase_if(there.norm_reads, [&](const NormReads& reads) { return left_out(*reads.norm); });
  }
  std::ranges::reverse(all);
  return all;
}

void MtpView::stretch(const Module& writer, Matrix<double>& written) const {
  const auto found = folding_.rows.find(&writer);
  if (stretched_ && found != folding_.rows.end()) scale_columns(written, product_of(source_, found->second), 1);
}

Matrix<double> MtpView::seen(const Module* norm, Matrix<double> x) const {
  const auto found =
      std::ranges::find_if(folding_.reads, [&](const MtpFolding::Read& read) { return read.reads->norm == norm; });
  if (stretched_ && norm && found != folding_.reads.end() && !found->more.empty())
    scale_columns(x, product_of(source_, found->more), found->level);
  return x;
}

std::vector<double> MtpView::output_norm_errors() const {
  std::vector<double> errors;
  if (left_out_) return errors;
  const std::vector<double> g = scale_of(source_, final_norm(source_)), g_out = scale_of(output_, final_norm(output_));
  for (const MtpHead& head : source_.mtp_heads()) {
    const std::vector<double> h = scale_of(source_, *head.output_norm),
                              h_out = scale_of(output_, *output_.find(head.output_norm->name));
    const auto read = std::ranges::find_if(
        folding_.reads, [&](const MtpFolding::Read& one) { return one.reads->norm == head.output_norm; });
    const double level = stretched_ ? read->level : 0;
    double& worst = errors.emplace_back(0);
    for (size_t i = 0; i < g.size(); ++i) {
      const double a = stretched_ ? h_out[i] : h_out[i] * g[i], b = stretched_ ? level * g_out[i] : h[i] * g_out[i];
      worst = std::max(worst, std::abs(a - b) / std::max({std::abs(a), std::abs(b), 1e-30}));
    }
  }
  return errors;
}

}  // namespace spinor::verify
