#include "spinor/calibration/chunk_sums.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "spinor/calibration/on_each.h"

namespace spinor::calibration {
namespace {

// A piece of what a contribution adds, and where it is in its `products`.
struct PieceOf {
  size_t contribution;
  HessianPiece piece;
  int64_t begin;

  at::Tensor products(const Contribution& of) const {
    at::Tensor flat = of.products.narrow(0, begin, piece.values());
    return piece.rows > 0 ? flat.view({piece.rows, piece.cols}) : flat;
  }
};

// The largest first: threads end at about the same time.
std::vector<PieceOf> pieces_of(const std::vector<Contribution>& contributions) {
  std::vector<PieceOf> pieces;
  for (size_t i = 0; i < contributions.size(); ++i) {
    int64_t begin = 0;
    for (const HessianPiece& piece : hessian_pieces(contributions[i].size, contributions[i].part)) {
      pieces.push_back({i, piece, begin});
      begin += piece.values();
    }
  }
  std::ranges::stable_sort(pieces, std::greater(), [](const PieceOf& of) { return of.piece.values(); });
  return pieces;
}

// Where the sums of products are fewer numbers than the inputs, they take their place.
void reduce(std::vector<Contribution>& contributions, int threads) {
  for (Contribution& one : contributions)
    if (is_larger_than_products(one)) one.products = at::empty({hessian_values(one.size, one.part)}, at::kFloat);
  const std::vector<PieceOf> pieces = pieces_of(contributions);
  on_each(std::ssize(pieces), threads, [&](int64_t i) {
    const PieceOf& of = pieces[static_cast<size_t>(i)];
    const Contribution& one = contributions[of.contribution];
    if (one.products.defined()) of.products(one).copy_(sum_products(of.piece, one.x));
  });
  for (Contribution& one : contributions)
    if (one.products.defined()) one.x.clear();
}

}  // namespace

const ActivationRange* ChunkSums::range(const WatchedPlace& place) const {
  const auto found = ranges_.find(place);
  return found == ranges_.end() ? nullptr : &found->second;
}

std::vector<std::string> ChunkSums::linears_of(int owner) const {
  std::vector<std::string> linears;
  for (const auto& [linear, wanted] : wanted_)
    if (wanted.owner == owner) linears.push_back(linear);
  return linears;
}

void ChunkSums::add(const Chunk& chunk) {
  round(&chunk);
}

void ChunkSums::finish() {
  while (next_ < chunks_) round(nullptr);
}

void ChunkSums::round(const Chunk* mine) {
  if (mine) send_all(*mine);
  const std::vector<std::string> linears = linears_of(group_.rank());
  for (int rank = 0; rank < group_.ranks() && next_ + rank < chunks_; ++rank) {
    ArrivedChunk chunk;
    if (rank != group_.rank()) {
      chunk = receive(group_, rank, linears);
    } else if (mine) {
      chunk = {contributions(*mine, linears), rank == 0 ? ranges_of(*mine) : ChunkRanges()};
    }
    add_up(chunk.contributions);
    add_ranges(std::move(chunk.ranges));
  }
  group_.flush();
  next_ += group_.ranks();
}

void ChunkSums::send_all(const Chunk& mine) {
  for (int to = 0; to < group_.ranks(); ++to) {
    if (to == group_.rank()) continue;
    const std::vector<std::string> linears = linears_of(to);
    std::vector<Contribution> all = contributions(mine, linears);
    reduce(all, threads_);
    send(group_, to, all, linears, to == 0 ? ranges_of(mine) : ChunkRanges());
  }
}

ChunkRanges ChunkSums::ranges_of(const Chunk& chunk) const {
  ChunkRanges ranges;
  for (const auto& [place, range] : ranges_) {
    const auto seen = chunk.ranges.find(place);
    ranges.push_back(seen == chunk.ranges.end() ? std::vector<std::vector<Range>>() : seen->second);
  }
  return ranges;
}

Hessian& ChunkSums::hessian_of(const Contribution& contribution) {
  std::shared_ptr<Hessian>& hessian = wanted_.at(contribution.linear).hessian;
  if (!hessian) {
    hessian = std::make_shared<Hessian>(contribution.size, device_, contribution.part);
    order_.push_back(contribution.linear);
  }
  for (const std::string& other : contribution.others) {
    std::shared_ptr<Hessian>& same = wanted_.at(other).hessian;
    if (!same) order_.push_back(other);
    same = hessian;
  }
  return *hessian;
}

void ChunkSums::add_up(const std::vector<Contribution>& contributions) {
  std::vector<Hessian*> hessians;
  for (const Contribution& one : contributions) {
    hessians.push_back(&hessian_of(one));
    hessians.back()->count(one.inputs, one.tokens);
  }
  const std::vector<PieceOf> pieces = pieces_of(contributions);
  on_each(std::ssize(pieces), threads_, [&](int64_t i) {
    const PieceOf& of = pieces[static_cast<size_t>(i)];
    const Contribution& one = contributions[of.contribution];
    const at::Tensor products = one.products.defined() ? of.products(one) : sum_products(of.piece, one.x);
    hessians[of.contribution]->add(of.piece, products.to(device_));
  });
}

void ChunkSums::add_ranges(ChunkRanges ranges) {
  auto of_place = ranges.begin();
  for (auto& [place, range] : ranges_) {
    if (of_place == ranges.end()) return;
    for (std::vector<Range>& sample : *of_place++) range.add(std::move(sample));
  }
}

std::string ChunkSums::first_not_finite() const {
  for (const std::string& linear : order_)
    if (!wanted_.at(linear).hessian->finite()) return linear;
  return {};
}

void ChunkSums::clear() {
  next_ = 0;
  wanted_.clear();
  ranges_.clear();
  order_.clear();
}

}  // namespace spinor::calibration
