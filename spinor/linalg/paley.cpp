#include "spinor/linalg/paley.h"

#include <algorithm>

namespace spinor {
namespace {

struct PrimePower {
  int64_t p = 0, k = 0;
};

// q = p^k for a prime p; {0, 0} if it is not.
PrimePower prime_power(int64_t q) {
  if (q < 2) return {};
  int64_t p = 2;
  while (p * p <= q && q % p != 0) ++p;
  if (q % p != 0) p = q;
  int64_t k = 0;
  while (q % p == 0) q /= p, ++k;
  return q == 1 ? PrimePower{p, k} : PrimePower{};
}

bool odd_prime_power(int64_t q) {
  return q % 2 == 1 && prime_power(q).k > 0;
}
bool has_paley1(int64_t n) {
  return n % 4 == 0 && odd_prime_power(n - 1);
}
bool has_paley2(int64_t n) {
  return n % 4 == 0 && (n / 2 - 1) % 4 == 1 && odd_prime_power(n / 2 - 1);
}

// Digits of a - b, each modulo p.
int64_t subtract(int64_t a, int64_t b, int64_t p) {
  int64_t difference = 0;
  for (int64_t digit = 1; a > 0 || b > 0; digit *= p, a /= p, b /= p) difference += (a % p - b % p + p) % p * digit;
  return difference;
}

// a x modulo the monic polynomial x^k - f, with f and a below q = p^k.
int64_t times_x(int64_t a, int64_t f, int64_t p, int64_t q) {
  const int64_t top = a / (q / p);
  int64_t product = a % (q / p) * p;
  int64_t sum = 0;  // product + top f, digit by digit
  for (int64_t digit = 1; digit < q; digit *= p) sum += (product / digit % p + top * (f / digit % p)) % p * digit;
  return sum;
}

// The powers x^0 ... x^(q-2) when x generates the multiplicative group modulo x^k - f, else fewer.
std::vector<int64_t> powers_of_x(int64_t f, int64_t p, int64_t q) {
  std::vector<int64_t> powers = {1};
  while (static_cast<int64_t>(powers.size()) < q) {
    const int64_t next = times_x(powers.back(), f, p, q);
    if (next <= 1) break;
    powers.push_back(next);
  }
  return powers;
}

SignMatrix paley1(int64_t q) {
  const std::vector<int8_t> chi = quadratic_character(q);
  const int64_t p = prime_power(q).p;
  // H = I + [[0, 1^T], [-1, Q]], Q[i][j] = chi(i - j), which is skew because -1 is no square.
  SignMatrix h(q + 1);
  for (int64_t i = 0; i < q; ++i) {
    h(i + 1, 0) = -1;
    for (int64_t j = 0; j < q; ++j) h(i + 1, j + 1) = i == j ? 1 : chi[static_cast<size_t>(subtract(i, j, p))];
  }
  return h;
}

SignMatrix paley2(int64_t q) {
  const std::vector<int8_t> chi = quadratic_character(q);
  const int64_t p = prime_power(q).p, half = q + 1;
  // C = [[0, 1^T], [1, Q]] is symmetric with C C^T = q I; H = [[C + I, C - I], [C - I, -C - I]].
  SignMatrix h(2 * half);
  for (int64_t i = 0; i < half; ++i) {
    for (int64_t j = 0; j < half; ++j) {
      const int c = i == j ? 0 : i == 0 || j == 0 ? 1 : chi[static_cast<size_t>(subtract(i - 1, j - 1, p))];
      const int diagonal = i == j;
      h(i, j) = static_cast<int8_t>(c + diagonal);
      h(i, j + half) = h(i + half, j) = static_cast<int8_t>(c - diagonal);
      h(i + half, j + half) = static_cast<int8_t>(-c - diagonal);
    }
  }
  return h;
}

}  // namespace

std::vector<int8_t> quadratic_character(int64_t q) {
  if (!odd_prime_power(q)) return {};
  const int64_t p = prime_power(q).p;
  // About one polynomial in k log log q is primitive, and most others fail early.
  std::vector<int64_t> powers;
  for (int64_t f = 1; f < q && static_cast<int64_t>(powers.size()) != q - 1; ++f) powers = powers_of_x(f, p, q);
  std::vector<int8_t> chi(static_cast<size_t>(q), 0);
  for (size_t i = 0; i < powers.size(); ++i) chi[static_cast<size_t>(powers[i])] = i % 2 == 0 ? 1 : -1;
  return chi;
}

bool has_paley(int64_t order) {
  return has_paley1(order) || has_paley2(order);
}

std::optional<SignMatrix> paley(int64_t order) {
  if (has_paley1(order)) return paley1(order - 1);
  if (has_paley2(order)) return paley2(order / 2 - 1);
  return std::nullopt;
}

}  // namespace spinor
