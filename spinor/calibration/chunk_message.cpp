#include "spinor/calibration/chunk_message.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace spinor::calibration {
namespace {

// Numbers that say what follows.
class Header {
 public:
  explicit Header(std::vector<int64_t> numbers = {}) : numbers_(std::move(numbers)) {}
  void put(int64_t number) { numbers_.push_back(number); }
  int64_t take() { return numbers_.at(next_++); }

  void send(RankGroup& group, int to) const {
    group.send(to, at::tensor({std::ssize(numbers_)}, at::kLong));
    group.send(to, at::tensor(numbers_, at::kLong));
  }
  static Header receive(RankGroup& group, int from) {
    at::Tensor count = at::empty({1}, at::kLong);
    group.receive(from, count);
    at::Tensor numbers = at::empty({count.item<int64_t>()}, at::kLong);
    group.receive(from, numbers);
    const int64_t* first = numbers.const_data_ptr<int64_t>();
    return Header({first, first + numbers.numel()});
  }

 private:
  std::vector<int64_t> numbers_;
  size_t next_ = 0;
};

int64_t place_of(const std::string& linear, const std::vector<std::string>& linears) {
  return std::ranges::lower_bound(linears, linear) - linears.begin();
}

void put(Header& header, const Contribution& contribution, const std::vector<std::string>& linears) {
  header.put(place_of(contribution.linear, linears));
  header.put(std::ssize(contribution.others));
  for (const std::string& other : contribution.others) header.put(place_of(other, linears));
  for (const int64_t number : {contribution.part == HessianPart::whole ? int64_t{1} : int64_t{0}, contribution.size,
                               contribution.inputs, contribution.tokens, std::ssize(contribution.x)})
    header.put(number);
  for (const at::Tensor& x : contribution.x) header.put(x.numel() / contribution.size);
}

// Its tensors are not filled yet.
Contribution take(Header& header, const std::vector<std::string>& linears) {
  Contribution contribution;
  const auto linear = [&] { return linears.at(static_cast<size_t>(header.take())); };
  contribution.linear = linear();
  for (int64_t left = header.take(); left > 0; --left) contribution.others.push_back(linear());
  contribution.part = header.take() ? HessianPart::whole : HessianPart::diagonal;
  contribution.size = header.take();
  contribution.inputs = header.take();
  contribution.tokens = header.take();
  for (int64_t left = header.take(); left > 0; --left)
    contribution.x.push_back(at::empty({header.take(), contribution.size}, at::kFloat));
  if (contribution.x.empty())
    contribution.products = at::empty({hessian_values(contribution.size, contribution.part)}, at::kFloat);
  return contribution;
}

at::Tensor to_send(const at::Tensor& x, int64_t size) {
  return x.reshape({-1, size}).to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

std::vector<Contribution> contributions(const Chunk& chunk, const std::vector<std::string>& linears) {
  std::vector<Contribution> result;
  std::map<size_t, size_t> found;  // of chunk.inputs, in the result
  for (const std::string& linear : chunk.linears) {
    if (!std::ranges::binary_search(linears, linear)) continue;
    const size_t read = chunk.read.at(linear);
    const auto [place, first] = found.emplace(read, result.size());
    if (!first) {
      result[place->second].others.push_back(linear);
      continue;
    }
    const Chunk::Inputs& inputs = chunk.inputs[read];
    Contribution& one = result.emplace_back(Contribution{.linear = linear, .others = {}, .part = inputs.part});
    one.size = inputs.x.front().size(-1);
    one.inputs = std::ssize(inputs.x);
    for (const at::Tensor& x : inputs.x) one.tokens += x.numel() / one.size;
    one.x = inputs.x;
  }
  return result;
}

bool is_larger_than_products(const Contribution& contribution) {
  return contribution.tokens * contribution.size > hessian_values(contribution.size, contribution.part);
}

void send(RankGroup& group, int to, const std::vector<Contribution>& contributions,
          const std::vector<std::string>& linears, const ChunkRanges& ranges) {
  Header header;
  std::vector<float> bounds;
  header.put(std::ssize(contributions));
  for (const Contribution& contribution : contributions) put(header, contribution, linears);
  header.put(std::ssize(ranges));
  for (const auto& samples : ranges) {
    header.put(std::ssize(samples));
    header.put(samples.empty() ? 0 : std::ssize(samples.front()));
    for (const std::vector<Range>& sample : samples)
      for (const Range& range : sample) bounds.insert(bounds.end(), {range.low, range.high});
  }
  header.send(group, to);
  if (!bounds.empty()) group.send(to, at::tensor(bounds, at::kFloat));
  for (const Contribution& contribution : contributions) {
    for (const at::Tensor& x : contribution.x)
      if (x.numel() > 0) group.send(to, to_send(x, contribution.size));
    if (contribution.x.empty()) group.send(to, contribution.products);
  }
}

ArrivedChunk receive(RankGroup& group, int from, const std::vector<std::string>& linears) {
  ArrivedChunk arrived;
  Header header = Header::receive(group, from);
  for (int64_t left = header.take(); left > 0; --left) arrived.contributions.push_back(take(header, linears));
  int64_t values = 0;
  for (int64_t left = header.take(); left > 0; --left) {
    const auto samples = static_cast<size_t>(header.take()), slots = static_cast<size_t>(header.take());
    arrived.ranges.emplace_back(samples, std::vector<Range>(slots));
    values += static_cast<int64_t>(2 * samples * slots);
  }
  if (values > 0) {
    at::Tensor bounds = at::empty({values}, at::kFloat);
    group.receive(from, bounds);
    const float* bound = bounds.const_data_ptr<float>();
    for (auto& samples : arrived.ranges)
      for (std::vector<Range>& sample : samples)
        for (Range& range : sample) range.low = *bound++, range.high = *bound++;
  }
  for (Contribution& contribution : arrived.contributions) {
    for (at::Tensor& x : contribution.x)
      if (x.numel() > 0) group.receive(from, x);
    if (contribution.x.empty()) group.receive(from, contribution.products);
  }
  return arrived;
}

}  // namespace spinor::calibration
