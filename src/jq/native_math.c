/* SPDX-License-Identifier: Apache-2.0
 *
 * Mathematics: the C library's functions under their own names. Their last digits are the C
 * library's, as they are jq's.
 */
#include <math.h>

#include "jq/native.h"

#define UNARY_MAP(X)                                                                               \
    X(acos)                                                                                        \
    X(acosh)                                                                                       \
    X(asin)                                                                                        \
    X(asinh)                                                                                       \
    X(atan) X(atanh) X(cbrt) X(ceil) X(cos) X(cosh) X(erf) X(erfc) X(exp) X(exp10) X(exp2)         \
        X(expm1) X(fabs) X(floor) X(j0) X(j1) X(lgamma) X(log) X(log10) X(log1p) X(log2) X(logb)   \
            X(nearbyint) X(rint) X(round) X(significand) X(sin) X(sinh) X(sqrt) X(tan) X(tanh)     \
                X(tgamma) X(trunc) X(y0) X(y1)

#define BINARY_MAP(X)                                                                              \
    X(atan2)                                                                                       \
    X(copysign)                                                                                    \
    X(drem) X(fdim) X(fmax) X(fmin) X(fmod) X(hypot) X(nextafter) X(pow) X(remainder) X(scalb)

static struct weir_value
unary(struct weir_jq_run *run, struct weir_value input, double (*fn)(double))
{
    if (input.kind != WEIR_KIND_NUMBER) {
        return jq_type_error(run, input, "number required");
    }
    double number = weir_value_double(input);
    weir_release(&run->heap, input);
    return weir_value_number(fn(number));
}

/* Both arguments as numbers; false: failed. */
static bool two_numbers(struct weir_jq_run *run,
                        struct weir_value input,
                        const struct weir_value *arguments,
                        double *ret_a,
                        double *ret_b)
{
    weir_release(&run->heap, input);
    for (int i = 0; i < 2; i++) {
        if (arguments[i].kind != WEIR_KIND_NUMBER) {
            jq_type_error(run, weir_retain(arguments[i]), "number required");
            return false;
        }
    }
    *ret_a = weir_value_double(arguments[0]);
    *ret_b = weir_value_double(arguments[1]);
    weir_release(&run->heap, arguments[0]);
    weir_release(&run->heap, arguments[1]);
    return true;
}

#define X(name)                                                                                    \
    static struct weir_value m_##name(struct weir_jq_run *run, struct weir_value input,            \
                                      struct weir_value *arguments)                                \
    {                                                                                              \
        (void)arguments;                                                                           \
        return unary(run, input, name);                                                            \
    }
UNARY_MAP(X)
#undef X

#define X(name)                                                                                    \
    static struct weir_value m_##name(struct weir_jq_run *run, struct weir_value input,            \
                                      struct weir_value *arguments)                                \
    {                                                                                              \
        double a, b;                                                                               \
        return two_numbers(run, input, arguments, &a, &b) ? weir_value_number(name(a, b))          \
                                                          : (struct weir_value){0};                \
    }
BINARY_MAP(X)
#undef X

static int to_int(double number)
{
    return isnan(number)            ? 0
           : number > 2147483647.0  ? 2147483647
           : number < -2147483647.0 ? -2147483647
                                    : (int)number;
}

static struct weir_value
m_ldexp(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    double a, b;
    return two_numbers(run, input, arguments, &a, &b) ? weir_value_number(ldexp(a, to_int(b)))
                                                      : (struct weir_value){0};
}

static struct weir_value
m_jn(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    double a, b;
    return two_numbers(run, input, arguments, &a, &b) ? weir_value_number(jn(to_int(a), b))
                                                      : (struct weir_value){0};
}

static struct weir_value
m_yn(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    double a, b;
    return two_numbers(run, input, arguments, &a, &b) ? weir_value_number(yn(to_int(a), b))
                                                      : (struct weir_value){0};
}

static struct weir_value
m_fma(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    double a, b;
    if (arguments[2].kind != WEIR_KIND_NUMBER && arguments[0].kind == WEIR_KIND_NUMBER &&
        arguments[1].kind == WEIR_KIND_NUMBER) {
        return jq_type_error(run, arguments[2], "number required");
    }
    if (!two_numbers(run, input, arguments, &a, &b)) {
        return (struct weir_value){0};
    }
    double c = weir_value_double(arguments[2]);
    weir_release(&run->heap, arguments[2]);
    return weir_value_number(fma(a, b, c));
}

static struct weir_value pair(struct weir_jq_run *run, double first, double second)
{
    struct weir_value array = weir_array_new(&run->heap, 2);
    array = weir_array_push(&run->heap, array, weir_value_number(first));
    return weir_array_push(&run->heap, array, weir_value_number(second));
}

static struct weir_value
m_frexp(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind != WEIR_KIND_NUMBER) {
        return jq_type_error(run, input, "number required");
    }
    int exponent = 0;
    double fraction = frexp(weir_value_double(input), &exponent);
    weir_release(&run->heap, input);
    return pair(run, fraction, exponent);
}

static struct weir_value
m_modf(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind != WEIR_KIND_NUMBER) {
        return jq_type_error(run, input, "number required");
    }
    double whole;
    double fraction = modf(weir_value_double(input), &whole);
    weir_release(&run->heap, input);
    return pair(run, fraction, whole);
}

static struct weir_value
m_lgamma_r(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind != WEIR_KIND_NUMBER) {
        return jq_type_error(run, input, "number required");
    }
    int sign = 0;
    double gamma_log = lgamma_r(weir_value_double(input), &sign);
    weir_release(&run->heap, input);
    return pair(run, gamma_log, sign);
}

static struct weir_value constant(struct weir_jq_run *run, struct weir_value input, double number)
{
    weir_release(&run->heap, input);
    return weir_value_number(number);
}

static struct weir_value
infinite(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return constant(run, input, HUGE_VAL);
}

static struct weir_value
not_a_number(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return constant(run, input, (double)NAN);
}

static struct weir_value
is_infinite(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    bool truth = input.kind == WEIR_KIND_NUMBER && isinf(weir_value_double(input));
    weir_release(&run->heap, input);
    return weir_value_bool(truth);
}

static struct weir_value
is_nan(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    bool truth = input.kind == WEIR_KIND_NUMBER && isnan(weir_value_double(input));
    weir_release(&run->heap, input);
    return weir_value_bool(truth);
}

static struct weir_value
is_normal(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    bool truth = input.kind == WEIR_KIND_NUMBER && isnormal(weir_value_double(input));
    weir_release(&run->heap, input);
    return weir_value_bool(truth);
}

// clang-format off
static const struct jq_native table[] = {
#define X(name) JQ_FN(#name, 0, m_##name, 0, "The C library's " #name ".", #name " | type", "1", "\"number\""),
    UNARY_MAP(X)
#undef X
#define X(name) JQ_FN(#name, 2, m_##name, 0, "The C library's " #name ".", #name "(1; 2) | type", "null", "\"number\""),
    BINARY_MAP(X)
#undef X
    JQ_FN("gamma", 0, m_lgamma, 0, "The C library's lgamma.", "gamma", "1", "0"),
    JQ_FN("ldexp", 2, m_ldexp, 0, "The C library's ldexp.", "ldexp(3; 2)", "null", "12"),
    JQ_FN("scalbln", 2, m_ldexp, 0, "The C library's scalbln.", "scalbln(3; 2)", "null", "12"),
    JQ_FN("nexttoward", 2, m_nextafter, 0, "The C library's nextafter.", "nexttoward(1; 1)", "null", "1"),
    JQ_FN("jn", 2, m_jn, 0, "The C library's jn.", "jn(1; 0)", "null", "0"),
    JQ_FN("yn", 2, m_yn, 0, "The C library's yn.", "yn(1; 2) | type", "null", "\"number\""),
    JQ_FN("fma", 3, m_fma, 0, "a * b + c, rounded once.", "fma(2; 3; 4)", "null", "10"),
    JQ_FN("frexp", 0, m_frexp, 0, "Fraction and exponent.", "frexp", "8", "[0.5,4]"),
    JQ_FN("modf", 0, m_modf, 0, "Fractional and whole part.", "modf", "1.5", "[0.5,1]"),
    JQ_FN("lgamma_r", 0, m_lgamma_r, 0, "The C library's lgamma_r: value and sign.", "lgamma_r", "1", "[0,1]"),
    JQ_FN("infinite", 0, infinite, 0, "Infinity.", "infinite > 1", "null", "true"),
    JQ_FN("nan", 0, not_a_number, 0, "Not a number.", "nan | isnan", "null", "true"),
    JQ_FN("isinfinite", 0, is_infinite, 0, "True for infinities.", "isinfinite", "1", "false"),
    JQ_FN("isnan", 0, is_nan, 0, "True for nan.", "isnan", "1", "false"),
    JQ_FN("isnormal", 0, is_normal, 0, "True for numbers neither 0, subnormal, infinite nor nan.", "isnormal", "1", "true"),
};
// clang-format on

JQ_FAMILY(jq_math_natives, table);
