/* Inner loops of a merge, each in one pass over memory (NumPy needs several). All take float32; the functions that
 * every round needs also take float16 and bfloat16.
 *
 * Every function takes contiguous buffers, checks their formats and lengths, and runs without Python's lock. For finite
 * values, the results of `median`, of the codecs, and of `combine` unless a difference overflows, are bit-identical to
 * those of NumPy: each IEEE 754 operation is executed separately, in the same order, without contraction. So peers with
 * and without this module agree. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "encoded chunks are little-endian; other machines use NumPy"
#endif

#if FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2 || FLT_EVAL_METHOD == -1
#error "floats are computed in a wider type here, and results would differ from NumPy's"
#endif

/* Uses wider registers if the processor has them; selected when the module is loaded. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

enum { LANES = 16, BLOCK = 1024, NARROW = 512, GROUP = 1024 };
#define EXPONENT 0x7f800000u
#define MAGNITUDE 0x7fffffffu

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Formats -------------------------------------------------------------------------------------------------------- */

typedef enum { FLOAT32, FLOAT16, BFLOAT16, OTHER } Format;

static size_t itemsize(Format format) { return format == FLOAT32 ? sizeof(float) : sizeof(uint16_t); }

#define HALF_INFINITY 0x7c00u
#define HALF_BIAS (112u << 23) /* between the exponents of both formats, where those of float32 lie */

/* Exact. */
static inline float from_half(uint16_t half) {
    uint32_t sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu, bits = (magnitude << 13) + HALF_BIAS;
    float subnormal = (float)(int32_t)magnitude * 0x1p-24f;
    bits = magnitude < 0x400u ? bits_of(subnormal) : magnitude < HALF_INFINITY ? bits : bits + HALF_BIAS;
    return float_of(sign | bits);
}

/* Rounds to nearest, ties to even, like the next function. */
static inline uint16_t to_half(float value) {
    uint32_t bits = bits_of(value), magnitude = bits & MAGNITUDE;
    uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f); /* 2^-24 is the last place of 0.5 */
    uint32_t half = (magnitude - HALF_BIAS + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    half = magnitude < 0x38800000u ? subnormal : half;
    half = magnitude >= 0x47800000u ? HALF_INFINITY : half;
    half = magnitude > EXPONENT ? HALF_INFINITY | 0x200u : half;
    return (uint16_t)((bits >> 16 & 0x8000u) | half);
}

/* A NaN may become a number. */
static inline uint16_t to_bfloat(uint32_t bits) { return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16); }

/* A block of values as float32: in place if they are float32, else converted into `room`. */
static inline const float *widened(const void *values, Format format, size_t start, size_t width, float *room) {
    if (format == FLOAT32) return (const float *)values + start;
    const uint16_t *narrow = (const uint16_t *)values + start;
    if (format == FLOAT16)
        for (size_t i = 0; i < width; i++) room[i] = from_half(narrow[i]);
    else
        for (size_t i = 0; i < width; i++) room[i] = float_of((uint32_t)narrow[i] << 16);
    return room;
}

/* Loops ---------------------------------------------------------------------------------------------------------- */

/* For one block: in float, and if that overflows in double, so that it is finite if and only if all values are. */
static inline double distance_within(const float *values, const float *origin, size_t width) {
    float sums[LANES] = {0};
    double total = 0;
    size_t i = 0;
    for (; i + LANES <= width; i += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            float difference = values[i + lane] - origin[i + lane];
            sums[lane] += difference * difference;
        }
    for (; i < width; i++) total += ((double)values[i] - (double)origin[i]) * ((double)values[i] - (double)origin[i]);
    for (int lane = 0; lane < LANES; lane++) total += (double)sums[lane];
    if (total - total == 0) return total;
    total = 0;
    for (i = 0; i < width; i++) {
        double difference = (double)values[i] - (double)origin[i];
        total += difference * difference;
    }
    return total;
}

WIDE static double squared_distance(const void *values, const void *origin, Format format, size_t size) {
    static const float zeros[BLOCK];
    float left[BLOCK], right[BLOCK];
    double total = 0;
    for (size_t start = 0; start < size; start += BLOCK) {
        size_t width = start + BLOCK < size ? BLOCK : size - start;
        const float *from = origin ? widened(origin, format, start, width, right) : zeros;
        total += distance_within(widened(values, format, start, width, left), from, width);
    }
    return total;
}

WIDE static int all_finite(const float *values, size_t size) {
    for (size_t start = 0; start < size; start += BLOCK) {
        size_t stop = start + BLOCK < size ? start + BLOCK : size;
        uint32_t largest = 0;
        for (size_t i = start; i < stop; i++) {
            uint32_t magnitude = bits_of(values[i]) & MAGNITUDE;
            largest = magnitude > largest ? magnitude : largest;
        }
        if (largest >= EXPONENT) return 0;
    }
    return 1;
}

WIDE static int all_finite_narrow(const uint16_t *values, uint16_t infinity, size_t size) {
    for (size_t start = 0; start < size; start += BLOCK) {
        size_t stop = start + BLOCK < size ? start + BLOCK : size;
        uint16_t largest = 0;
        for (size_t i = start; i < stop; i++) {
            uint16_t magnitude = values[i] & 0x7fffu;
            largest = magnitude > largest ? magnitude : largest;
        }
        if (largest >= infinity) return 0;
    }
    return 1;
}

/* The first column minus the weighted differences of the others from it, added in their order. With an origin, also the
 * squared distance of each column from it. Half precision is rounded once, at the end. */
WIDE static void combine(const void *const *columns, size_t count, Format format, const double *factors, int alike,
                         void *out, size_t size, const void *origin, double *distances) {
    for (size_t column = 0; origin && column < count; column++) distances[column] = 0;
    for (size_t start = 0; start < size; start += BLOCK) {
        size_t width = start + BLOCK < size ? BLOCK : size - start;
        float rooms[4][BLOCK], offset[BLOCK], *to = format == FLOAT32 ? (float *)out + start : rooms[3];
        const float *from = widened(columns[0], format, start, width, rooms[0]);
        const float *base = origin ? widened(origin, format, start, width, rooms[1]) : NULL;
        uint32_t largest = 0;
        if (base) distances[0] += distance_within(from, base, width);
        for (size_t column = 1; column < count; column++) {
            const float *other = widened(columns[column], format, start, width, rooms[2]);
            float factor = alike ? 1.0f : (float)factors[column - 1];
            if (base) distances[column] += distance_within(other, base, width);
            if (column == 1)
                for (size_t i = 0; i < width; i++) offset[i] = (from[i] - other[i]) * factor;
            else
                for (size_t i = 0; i < width; i++) offset[i] += (from[i] - other[i]) * factor;
        }
        float last = alike ? (float)factors[0] : 1.0f;
        for (size_t i = 0; i < width; i++) {
            to[i] = from[i] - offset[i] * last;
            uint32_t magnitude = bits_of(to[i]) & MAGNITUDE;
            largest = magnitude > largest ? magnitude : largest;
        }
        if (largest >= EXPONENT) { /* a difference overflowed */
            double sums[BLOCK] = {0};
            for (size_t column = 1; column < count; column++) {
                const float *other = widened(columns[column], format, start, width, rooms[2]);
                for (size_t i = 0; i < width; i++)
                    sums[i] += ((double)from[i] - (double)other[i]) * factors[column - 1];
            }
            for (size_t i = 0; i < width; i++) to[i] = (float)((double)from[i] - sums[i]);
        }
        uint16_t *narrow = (uint16_t *)out + start;
        if (format == FLOAT16)
            for (size_t i = 0; i < width; i++) narrow[i] = to_half(to[i]);
        else if (format == BFLOAT16)
            for (size_t i = 0; i < width; i++) narrow[i] = to_bfloat(bits_of(to[i]));
    }
}

/* Inner products of the columns' differences from an origin, added to `gram`: in float within a block, as
 * `distance_within`. `differences` has room for a block of each. */
WIDE static void add_products(const float *const *columns, size_t count, const float *origin, float *differences,
                              double *gram, size_t size) {
    for (size_t start = 0; start < size; start += NARROW) {
        size_t width = start + NARROW < size ? NARROW : size - start;
        for (size_t column = 0; column < count; column++) {
            float *to = differences + column * NARROW;
            for (size_t i = 0; i < width; i++) to[i] = columns[column][start + i] - origin[start + i];
            for (size_t i = width; i < NARROW; i++) to[i] = 0;
        }
        for (size_t row = 0; row < count; row++)
            for (size_t column = 0; column <= row; column++) {
                if (columns[row] == origin || columns[column] == origin) continue; /* no difference from itself */
                const float *left = differences + row * NARROW, *right = differences + column * NARROW;
                float sums[LANES] = {0};
                double total = 0;
                for (size_t i = 0; i < NARROW; i += LANES)
                    for (int lane = 0; lane < LANES; lane++) sums[lane] += left[i + lane] * right[i + lane];
                for (int lane = 0; lane < LANES; lane++) total += (double)sums[lane];
                gram[row * count + column] += total;
                if (row != column) gram[column * count + row] += total;
            }
    }
}

/* A comparator of a sorting network: puts the smaller of two rows first. Unused results are not computed. */
typedef struct {
    int32_t first, second, wants_minimum, wants_maximum;
} Comparator;

enum { STRIP = 256 };

/* IEEE numbers as integers of the same order, negative zero before positive zero; a second time turns them back. */
static inline int32_t flipped(int32_t bits) { return bits ^ ((bits >> 31) & INT32_MAX); }

/* The median of each coordinate, by a network over strips of all columns; `rows` has room for a strip of each. */
WIDE static void median(const float *const *columns, size_t count, const Comparator *network, size_t comparators,
                        int32_t *rows, float *out, size_t size) {
    for (size_t start = 0; start < size; start += STRIP) {
        size_t width = start + STRIP < size ? STRIP : size - start;
        for (size_t column = 0; column < count; column++) {
            int32_t *row = rows + column * STRIP;
            memset(row, 0, STRIP * sizeof *row);
            memcpy(row, columns[column] + start, width * sizeof *row);
            for (size_t i = 0; i < STRIP; i++) row[i] = flipped(row[i]);
        }
        for (size_t k = 0; k < comparators; k++) {
            int32_t *restrict low = rows + (size_t)network[k].first * STRIP;
            int32_t *restrict high = rows + (size_t)network[k].second * STRIP;
            if (!network[k].wants_maximum)
                for (size_t i = 0; i < STRIP; i++) low[i] = low[i] < high[i] ? low[i] : high[i];
            else if (!network[k].wants_minimum)
                for (size_t i = 0; i < STRIP; i++) high[i] = low[i] > high[i] ? low[i] : high[i];
            else
                for (size_t i = 0; i < STRIP; i++) {
                    int32_t smaller = low[i] < high[i] ? low[i] : high[i];
                    high[i] = low[i] < high[i] ? high[i] : low[i];
                    low[i] = smaller;
                }
        }
        const int32_t *lower = rows + (count - 1) / 2 * STRIP, *upper = rows + count / 2 * STRIP;
        for (size_t i = 0; i < width; i++) {
            float low = float_of((uint32_t)flipped(lower[i])), high = float_of((uint32_t)flipped(upper[i]));
            out[start + i] = count % 2 ? low : (float)(((double)low + (double)high) / 2);
        }
    }
}

static inline float difference_of(const float *values, const float *reference, const float *residual, size_t i) {
    float difference = values[i] - reference[i];
    return residual ? difference + residual[i] : difference;
}

/* Rounds to nearest, ties to even. Returns whether all encoded differences are finite. */
WIDE static int bf16_encode(const float *values, const float *reference, const float *residual, uint8_t *out,
                            size_t size) {
    uint32_t largest = 0;
    for (size_t i = 0; i < size; i++) {
        uint32_t bits = bits_of(difference_of(values, reference, residual, i)), magnitude = bits & MAGNITUDE;
        uint16_t coded = to_bfloat(bits);
        uint32_t rounded = magnitude > EXPONENT ? EXPONENT : ((uint32_t)coded << 16) & MAGNITUDE;
        largest = rounded > largest ? rounded : largest;
        memcpy(out + 2 * i, &coded, sizeof coded); /* payloads need not be aligned */
    }
    return largest < EXPONENT;
}

enum { DECODED = 0, CODE_NOT_FINITE = 1, OUT_OF_RANGE = 2 };

WIDE static int bf16_decode(const uint8_t *data, const float *reference, float *out, size_t size) {
    uint32_t largest_code = 0, largest = 0;
    for (size_t i = 0; i < size; i++) {
        uint16_t coded;
        memcpy(&coded, data + 2 * i, sizeof coded);
        uint32_t bits = (uint32_t)coded << 16, magnitude = bits & MAGNITUDE;
        largest_code = magnitude > largest_code ? magnitude : largest_code;
        out[i] = reference[i] + float_of(bits);
        magnitude = bits_of(out[i]) & MAGNITUDE;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest_code >= EXPONENT ? CODE_NOT_FINITE : largest >= EXPONENT ? OUT_OF_RANGE : DECODED;
}

#define LEVELS 127.0f
#define LARGEST_SCALE (3.40282346638528859812e+38f / 128.0f)
#define LEAST_SCALE 1.17549435082228750797e-38f
#define ROUNDER 12582912.0f /* 1.5 * 2^23: adding it rounds anything below 2^22 to an integer, ties to even */

/* One group: its differences, then a scale and the codes. Returns whether the scale is finite. */
WIDE static int int8_group(const float *values, const float *reference, const float *residual, float *differences,
                           float *scale, int8_t *codes, size_t width) {
    uint32_t bits = 0;
    for (size_t i = 0; i < width; i++) {
        differences[i] = difference_of(values, reference, residual, i);
        uint32_t magnitude = bits_of(differences[i]) & MAGNITUDE;
        bits = magnitude > bits ? magnitude : bits;
    }
    float largest = float_of(bits);
    *scale = largest / LEVELS;
    if (!(*scale <= LARGEST_SCALE)) return 0;
    if (*scale < LEAST_SCALE) *scale = 0;
    float inverse = *scale > 0 ? LEVELS / largest : 0;
    for (size_t i = 0; i < width; i++) {
        float rounded = differences[i] * inverse + ROUNDER;
        codes[i] = (int8_t)(int32_t)(rounded - ROUNDER);
    }
    return 1;
}

static int int8_encode(const float *values, const float *reference, const float *residual, uint8_t *out,
                       size_t size) {
    float differences[GROUP];
    for (size_t start = 0; start < size; start += GROUP) {
        size_t width = start + GROUP < size ? GROUP : size - start;
        float scale;
        if (!int8_group(values + start, reference + start, residual ? residual + start : NULL, differences, &scale,
                        (int8_t *)(out + sizeof scale), width))
            return 0;
        memcpy(out, &scale, sizeof scale);
        out += sizeof scale + width;
    }
    return 1;
}

WIDE static uint32_t int8_add(const int8_t *codes, float scale, const float *reference, float *out, size_t width) {
    uint32_t largest = 0;
    for (size_t i = 0; i < width; i++) {
        out[i] = reference[i] + (float)codes[i] * scale;
        uint32_t magnitude = bits_of(out[i]) & MAGNITUDE;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static int int8_decode(const uint8_t *data, const float *reference, float *out, size_t size) {
    for (size_t start = 0; start < size; start += GROUP) {
        size_t width = start + GROUP < size ? GROUP : size - start;
        float scale;
        memcpy(&scale, data, sizeof scale);
        if (!(fabsf(scale) <= LARGEST_SCALE)) return CODE_NOT_FINITE;
        if (int8_add((const int8_t *)(data + sizeof scale), scale, reference + start, out + start, width) >= EXPONENT)
            return OUT_OF_RANGE;
        data += sizeof scale + width;
    }
    return DECODED;
}

WIDE static void int8_left(const float *differences, const int8_t *codes, float scale, float *residual, size_t width) {
    for (size_t i = 0; i < width; i++) residual[i] = differences[i] - (float)codes[i] * scale;
}

static int int8_update_residual(const float *values, const float *reference, float *residual, size_t size) {
    float differences[GROUP], scale;
    int8_t codes[GROUP];
    for (size_t start = 0; start < size; start += GROUP) {
        size_t width = start + GROUP < size ? GROUP : size - start;
        if (!int8_group(values + start, reference + start, residual + start, differences, &scale, codes, width))
            return 0;
        int8_left(differences, codes, scale, residual + start, width);
    }
    return 1;
}

/* Python interface ------------------------------------------------------------------------------------------------ */

enum { MOST_ARGUMENTS = 4 };

typedef struct {
    Py_buffer buffers[MOST_ARGUMENTS];
    int count;
} Buffers;

static void release(Buffers *held) {
    while (held->count) PyBuffer_Release(&held->buffers[--held->count]);
}

/* Takes `wanted` arguments as buffers; None gives an empty one. Bit i of `written` means that buffer i is written. */
static int take(Buffers *held, PyObject *const *arguments, Py_ssize_t given, int wanted, int written) {
    held->count = 0;
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%d arguments expected, %zd given", wanted, given);
        return 0;
    }
    for (int i = 0; i < wanted; i++) {
        Py_buffer *buffer = &held->buffers[i];
        int flags = PyBUF_ND | PyBUF_FORMAT | (written >> i & 1 ? PyBUF_WRITABLE : 0);
        if (arguments[i] == Py_None)
            memset(buffer, 0, sizeof *buffer);
        else if (PyObject_GetBuffer(arguments[i], buffer, flags) < 0) {
            release(held);
            return 0;
        }
        held->count++;
    }
    return 1;
}

static const void *memory(const Buffers *held, int i) { return held->buffers[i].buf; }

/* bfloat16 has no buffer format; it is passed as uint16. */
static Format format_of(const Py_buffer *buffer) {
    const char *format = buffer->format ? buffer->format : "B";
    return !strcmp(format, "f") ? FLOAT32 : !strcmp(format, "e") ? FLOAT16 : !strcmp(format, "H") ? BFLOAT16 : OTHER;
}

static int is_of(const Py_buffer *buffer, Format format, size_t size) {
    return format != OTHER && format_of(buffer) == format && (size_t)buffer->len == size * itemsize(format);
}

static Format format(const Buffers *held, int i) { return format_of(&held->buffers[i]); }
static size_t values(const Buffers *held, int i) { return (size_t)held->buffers[i].len / itemsize(format(held, i)); }

/* Whether argument i holds `size` values of a format, or is None if `optional`. */
static int holds(const Buffers *held, int i, Format format, size_t size, int optional) {
    return held->buffers[i].obj ? is_of(&held->buffers[i], format, size) : optional;
}

/* Whether `count` arguments from `first` on hold `size` values of float32; bit i of `optional` lets one be None. */
static int are_floats(const Buffers *held, int first, int count, size_t size, int optional) {
    for (int i = first; i < first + count; i++)
        if (!holds(held, i, FLOAT32, size, optional >> i & 1)) return 0;
    return 1;
}

#define MISMATCH "the buffers do not have formats and lengths that belong together"

static PyObject *mismatch(Buffers *held) {
    release(held);
    PyErr_SetString(PyExc_ValueError, MISMATCH);
    return NULL;
}

static PyObject *py_squared_distance(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    Buffers held;
    double sum;
    if (!take(&held, arguments, given, 2, 0)) return NULL;
    Format of = format(&held, 0);
    size_t size = values(&held, 0);
    if (!holds(&held, 0, of, size, 0) || !holds(&held, 1, of, size, 1)) return mismatch(&held);
    Py_BEGIN_ALLOW_THREADS
    sum = squared_distance(memory(&held, 0), memory(&held, 1), of, size);
    Py_END_ALLOW_THREADS
    release(&held);
    return PyFloat_FromDouble(sum);
}

static PyObject *py_all_finite(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    Buffers held;
    int finite;
    if (!take(&held, arguments, given, 1, 0)) return NULL;
    Format of = format(&held, 0);
    size_t size = values(&held, 0);
    if (!holds(&held, 0, of, size, 0)) return mismatch(&held);
    Py_BEGIN_ALLOW_THREADS
    finite = of == FLOAT32 ? all_finite(memory(&held, 0), size)
                           : all_finite_narrow(memory(&held, 0), of == FLOAT16 ? HALF_INFINITY : EXPONENT >> 16, size);
    Py_END_ALLOW_THREADS
    release(&held);
    return PyBool_FromLong(finite);
}

/* The buffers of a sequence of `count`. Returns how many were taken: all, or -1 with an error set. */
static Py_ssize_t take_columns(PyObject *sequence, Py_ssize_t count, Py_buffer *buffers, const void **columns) {
    for (Py_ssize_t taken = 0; taken < count; taken++) {
        PyObject *column = PySequence_GetItem(sequence, taken);
        int good = column && PyObject_GetBuffer(column, &buffers[taken], PyBUF_ND | PyBUF_FORMAT) == 0;
        Py_XDECREF(column);
        if (!good) {
            while (taken) PyBuffer_Release(&buffers[--taken]);
            return -1;
        }
        columns[taken] = buffers[taken].buf;
    }
    return count;
}

/* Arguments of a kernel over columns: a sequence of columns, then buffers; see `take` for `written`. */
typedef struct {
    Buffers rest;
    Py_buffer *buffers;
    const void **columns;
    Py_ssize_t count;
} Columns;

static void release_columns(Columns *held) {
    for (Py_ssize_t i = 0; i < held->count; i++) PyBuffer_Release(&held->buffers[i]);
    PyMem_Free(held->buffers);
    PyMem_Free(held->columns);
    release(&held->rest);
}

static int hold_columns(Columns *held, PyObject *const *arguments, Py_ssize_t given, int wanted, int written) {
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%d arguments expected, %zd given", wanted, given);
        return 0;
    }
    Py_ssize_t count = PySequence_Size(arguments[0]);
    if (count < 0 || !take(&held->rest, arguments + 1, wanted - 1, wanted - 1, written)) return 0;
    held->buffers = PyMem_Calloc((size_t)count + 1, sizeof *held->buffers);
    held->columns = PyMem_Calloc((size_t)count + 1, sizeof *held->columns);
    held->count = 0;
    if (!held->buffers || !held->columns)
        PyErr_NoMemory();
    else if (take_columns(arguments[0], count, held->buffers, held->columns) >= 0) {
        held->count = count;
        return 1;
    }
    release_columns(held);
    return 0;
}

/* Whether there are columns, all of `size` values of a format. */
static int alike_columns(const Columns *held, Format format, size_t size) {
    for (Py_ssize_t i = 0; i < held->count; i++)
        if (!is_of(&held->buffers[i], format, size)) return 0;
    return held->count > 0;
}

static PyObject *py_combine(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    Columns held; /* columns; factors, origin, distances, out */
    if (!hold_columns(&held, arguments, given, 5, 4 | 8)) return NULL;
    Format of = format(&held.rest, 3);
    size_t size = values(&held.rest, 3), count = (size_t)held.count;
    const double *factors = memory(&held.rest, 0);
    int measured = held.rest.buffers[1].obj != NULL, alike = 1;
    int good = count > 1 && alike_columns(&held, of, size) && holds(&held.rest, 3, of, size, 0) &&
               holds(&held.rest, 1, of, size, 1) &&
               (size_t)held.rest.buffers[0].len == (count - 1) * sizeof(double) &&
               (!measured || (size_t)held.rest.buffers[2].len == count * sizeof(double));
    if (good) {
        for (size_t i = 1; i < count - 1; i++) alike = alike && factors[i] == factors[0];
        Py_BEGIN_ALLOW_THREADS
        combine(held.columns, count, of, factors, alike, held.rest.buffers[3].buf, size, memory(&held.rest, 1),
                held.rest.buffers[2].buf);
        Py_END_ALLOW_THREADS
    } else
        PyErr_SetString(PyExc_ValueError, MISMATCH);
    release_columns(&held);
    return good ? Py_NewRef(Py_None) : NULL;
}

static PyObject *py_add_products(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    Columns held; /* columns; origin, gram */
    if (!hold_columns(&held, arguments, given, 3, 2)) return NULL;
    size_t size = values(&held.rest, 0), count = (size_t)held.count;
    float *room = NULL;
    int good = alike_columns(&held, FLOAT32, size) && are_floats(&held.rest, 0, 1, size, 0) &&
               held.rest.buffers[1].obj &&
               (size_t)held.rest.buffers[1].len == count * count * sizeof(double);
    if (!good)
        PyErr_SetString(PyExc_ValueError, MISMATCH);
    else if (!(room = PyMem_Malloc(count * NARROW * sizeof *room)))
        PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        add_products((const float *const *)held.columns, count, memory(&held.rest, 0), room,
                     held.rest.buffers[1].buf, size);
        Py_END_ALLOW_THREADS
    }
    good = room != NULL;
    PyMem_Free(room);
    release_columns(&held);
    return good ? Py_NewRef(Py_None) : NULL;
}

static PyObject *py_median(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    Columns held; /* columns; network, out */
    if (!hold_columns(&held, arguments, given, 3, 2)) return NULL;
    size_t size = values(&held.rest, 1), count = (size_t)held.count;
    const Comparator *network = memory(&held.rest, 0);
    size_t comparators = (size_t)held.rest.buffers[0].len / sizeof *network;
    int32_t *room = NULL;
    int good = alike_columns(&held, FLOAT32, size) && are_floats(&held.rest, 1, 1, size, 0) &&
               held.rest.buffers[0].obj &&
               (size_t)held.rest.buffers[0].len == comparators * sizeof *network;
    for (size_t k = 0; good && k < comparators; k++)
        good = network[k].first >= 0 && network[k].second >= 0 && (size_t)network[k].first < count &&
               (size_t)network[k].second < count && network[k].first != network[k].second;
    if (!good)
        PyErr_SetString(PyExc_ValueError, MISMATCH);
    else if (!(room = PyMem_Malloc(count * STRIP * sizeof *room)))
        PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        median((const float *const *)held.columns, count, network, comparators, room, held.rest.buffers[1].buf, size);
        Py_END_ALLOW_THREADS
    }
    good = room != NULL;
    PyMem_Free(room);
    release_columns(&held);
    return good ? Py_NewRef(Py_None) : NULL;
}

static size_t bf16_packed(size_t size) { return 2 * size; }
static size_t int8_packed(size_t size) { return size + sizeof(float) * ((size + GROUP - 1) / GROUP); }

typedef int Encode(const float *, const float *, const float *, uint8_t *, size_t);
typedef int Decode(const uint8_t *, const float *, float *, size_t);

/* values, reference, residual, out */
static PyObject *encoded(PyObject *const *arguments, Py_ssize_t given, Encode *encode, size_t (*packed)(size_t)) {
    Buffers held;
    int finite;
    if (!take(&held, arguments, given, 4, 8)) return NULL;
    size_t size = values(&held, 0);
    if (!are_floats(&held, 0, 3, size, 4) || (size_t)held.buffers[3].len < packed(size)) return mismatch(&held);
    Py_BEGIN_ALLOW_THREADS
    finite = encode(memory(&held, 0), memory(&held, 1), memory(&held, 2), held.buffers[3].buf, size);
    Py_END_ALLOW_THREADS
    release(&held);
    return PyBool_FromLong(finite);
}

/* data, reference, out */
static PyObject *decoded(PyObject *const *arguments, Py_ssize_t given, Decode *decode, size_t (*packed)(size_t)) {
    Buffers held;
    int outcome;
    if (!take(&held, arguments, given, 3, 4)) return NULL;
    size_t size = values(&held, 2);
    if (!are_floats(&held, 1, 2, size, 0) || (size_t)held.buffers[0].len != packed(size)) return mismatch(&held);
    Py_BEGIN_ALLOW_THREADS
    outcome = decode(memory(&held, 0), memory(&held, 1), held.buffers[2].buf, size);
    Py_END_ALLOW_THREADS
    release(&held);
    return PyLong_FromLong(outcome);
}

static PyObject *py_bf16_encode(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    return encoded(arguments, given, bf16_encode, bf16_packed);
}

static PyObject *py_bf16_decode(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    return decoded(arguments, given, bf16_decode, bf16_packed);
}

static PyObject *py_int8_encode(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    return encoded(arguments, given, int8_encode, int8_packed);
}

static PyObject *py_int8_decode(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    return decoded(arguments, given, int8_decode, int8_packed);
}

static PyObject *py_int8_update_residual(PyObject *module, PyObject *const *arguments, Py_ssize_t given) {
    Buffers held;
    int finite;
    if (!take(&held, arguments, given, 3, 4)) return NULL;
    size_t size = values(&held, 2);
    if (!are_floats(&held, 0, 3, size, 0)) return mismatch(&held);
    Py_BEGIN_ALLOW_THREADS
    finite = int8_update_residual(memory(&held, 0), memory(&held, 1), held.buffers[2].buf, size);
    Py_END_ALLOW_THREADS
    release(&held);
    return PyBool_FromLong(finite);
}

#define FUNCTION(name) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, NULL}

static PyMethodDef functions[] = {
    FUNCTION(squared_distance), FUNCTION(all_finite),  FUNCTION(combine),     FUNCTION(add_products), FUNCTION(median),
    FUNCTION(bf16_encode),      FUNCTION(bf16_decode), FUNCTION(int8_encode), FUNCTION(int8_decode),
    FUNCTION(int8_update_residual),
    {NULL, NULL, 0, NULL},
};

static int add_outcomes(PyObject *module) {
    return PyModule_AddIntMacro(module, DECODED) || PyModule_AddIntMacro(module, CODE_NOT_FINITE) ||
                   PyModule_AddIntMacro(module, OUT_OF_RANGE)
               ? -1
               : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_outcomes}, {0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "swarm.tensors.kernels._native",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
