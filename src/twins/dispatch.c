/*
 * dispatch: the interpreter that a build's binfmt_misc has for arm64 programs (README.md beside this file).
 *
 * Runs the native twin of a program where there is one, and qemu-user otherwise. A twin lies under the GNU build-id of the
 * arm64 file it stands for, so that it is never taken for another file:
 *
 *   /.twins/t/<build-id>/<name of the file>
 *
 * The kernel calls it with argv = { itself, path, argv0, arguments ... } (flag P of binfmt_misc; Documentation/admin-guide/
 * binfmt-misc.rst). Freestanding x86-64: it runs some thousand times in a build, in trees where no library of its own exists.
 */

typedef long word;
typedef unsigned char byte;

#define TWINS "/.twins/t/"
#define EMULATOR "/.twins/qemu-aarch64"
/* There only while a build is looked at closely: one line for each emulated program. */
#define TRACE "/.twins/trace"

enum { READ_ONLY = 0, APPEND = 02001, CLOSE_ON_EXEC = 02000000 };
enum { CALL_WRITE = 1, CALL_OPEN = 2, CALL_CLOSE = 3, CALL_PREAD = 17, CALL_ACCESS = 21, CALL_EXECVE = 59, CALL_READLINK = 89, CALL_EXIT_GROUP = 231 };
enum { EXECUTABLE = 1 };

static word call(word number, word a, word b, word c, word d)
{
    word result;
    register word fourth __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
    return result;
}

/* gcc may call it for a loop of ours. */
__attribute__((used)) void *memset(void *to, int value, unsigned long count)
{
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
    return start;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static int contains(const char *text, const char *part)
{
    for (; *text; text++) {
        int at = 0;
        while (part[at] && text[at] == part[at])
            at++;
        if (!part[at])
            return 1;
    }
    return 0;
}

static int begins(const char *text, const char *part)
{
    while (*part)
        if (*text++ != *part++)
            return 0;
    return 1;
}

static char *append(char *to, const char *text)
{
    while ((*to = *text))
        to++, text++;
    return to;
}

static char *append_number(char *to, word value)
{
    char digits[24];
    int count = 0;
    do
        digits[count++] = '0' + value % 10;
    while (value /= 10);
    while (count)
        *to++ = digits[--count];
    *to = 0;
    return to;
}

static unsigned read32(const byte *at) { return at[0] | at[1] << 8 | at[2] << 16 | (unsigned)at[3] << 24; }
static unsigned read16(const byte *at) { return at[0] | at[1] << 8; }
static unsigned long read64(const byte *at) { return read32(at) | (unsigned long)read32(at + 4) << 32; }

enum { HEADER = 64, PROGRAM_HEADER = 56, MOST_HEADERS = 24, NOTES = 1024, PT_NOTE = 4, NT_GNU_BUILD_ID = 3, LONGEST_ID = 64 };

/* Writes the GNU build-id of an ELF-64 file as hex digits (elf(5)); gives the end of what was written, or 0 without one. */
static char *append_build_id(char *to, word file)
{
    byte header[HEADER], headers[MOST_HEADERS * PROGRAM_HEADER], notes[NOTES];
    if (call(CALL_PREAD, file, (word)header, HEADER, 0) != HEADER)
        return 0;
    unsigned count = read16(header + 56);
    if (read16(header + 54) != PROGRAM_HEADER || count > MOST_HEADERS)
        return 0;
    word wanted = count * PROGRAM_HEADER;
    if (call(CALL_PREAD, file, (word)headers, wanted, read64(header + 32)) != wanted)
        return 0;
    for (unsigned number = 0; number < count; number++) {
        const byte *one = headers + number * PROGRAM_HEADER;
        if (read32(one) != PT_NOTE)
            continue;
        unsigned long size = read64(one + 32);
        if (size > NOTES)
            size = NOTES;
        if (call(CALL_PREAD, file, (word)notes, size, read64(one + 8)) != (word)size)
            continue;
        /* Each note: size of name, size of content, type, name, content; both padded to 4 bytes. */
        for (unsigned long at = 0; at + 12 <= size;) {
            unsigned long name = read32(notes + at), length = read32(notes + at + 4), type = read32(notes + at + 8);
            unsigned long content = at + 12 + ((name + 3) & ~3UL), end = content + ((length + 3) & ~3UL);
            if (name > NOTES || length > NOTES || end > size)
                break;
            if (type == NT_GNU_BUILD_ID && name == 4 && same((const char *)notes + at + 12, "GNU") && length <= LONGEST_ID) {
                for (unsigned long i = 0; i < length; i++) {
                    *to++ = "0123456789abcdef"[notes[content + i] >> 4];
                    *to++ = "0123456789abcdef"[notes[content + i] & 15];
                }
                *to = 0;
                return to;
            }
            at = end;
        }
    }
    return 0;
}

/*
 * Python shows the machine it was built for and loads extension modules, which are arm64 ones in the tree. Compiling to byte code
 * and the questions that the packaging tools ask for it do neither. argv[3] is the first argument after argv0.
 */
static int is_harmless_python(int count, char **argv)
{
    for (int i = 3; i < count && i < 7; i++) {
        const char *argument = argv[i];
        if (same(argument, "/usr/bin/py3compile") || same(argument, "/usr/bin/py3clean") || same(argument, "/usr/bin/py3versions"))
            return 1;
        if (begins(argument, "/usr/lib/python3") && contains(argument, "/py_compile.py"))
            return 1;
        if (same(argument, "import sys; print(sys.implementation.cache_tag)") ||
            same(argument, "import importlib.util; print(importlib.util.MAGIC_NUMBER)"))
            return 1;
        if (same(argument, "-m") && i + 1 < count && (same(argv[i + 1], "py_compile") || same(argv[i + 1], "compileall")))
            return 1;
        if (argument[0] != '-')
            return 0;
    }
    return 0;
}

static void trace(int count, char **argv)
{
    char line[1024], *end = line;
    word file = call(CALL_OPEN, (word)TRACE, APPEND | CLOSE_ON_EXEC, 0, 0);
    if (file < 0)
        return;
    for (int i = 1; i < count && end - line < 700; i++) {
        for (int at = 0; argv[i][at] && at < 150; at++)
            *end++ = argv[i][at] == '\n' ? ' ' : argv[i][at];
        *end++ = ' ';
    }
    *end++ = '\n';
    call(CALL_WRITE, file, (word)line, end - line, 0);
    call(CALL_CLOSE, file, 0, 0, 0);
}

/* Comes back only when there is no twin. */
static void run_twin(int count, char **argv, char **environment)
{
    char twin[sizeof TWINS + 2 * LONGEST_ID + 4096 + 2], descriptor[48], real[4097];
    word file = call(CALL_OPEN, (word)argv[1], READ_ONLY | CLOSE_ON_EXEC, 0, 0);
    if (file < 0)
        return;
    append_number(append(descriptor, "/proc/self/fd/"), file);
    word length = call(CALL_READLINK, (word)descriptor, (word)real, sizeof real - 1, 0);
    char *end = append_build_id(append(twin, TWINS), file);
    call(CALL_CLOSE, file, 0, 0, 0);
    if (length <= 0 || real[0] != '/' || !end)
        return;
    real[length] = 0;
    const char *name = real;
    for (const char *at = real; *at; at++)
        if (*at == '/')
            name = at;
    append(end, name);
    if (call(CALL_ACCESS, (word)twin, EXECUTABLE, 0, 0) != 0)
        return;
    if (begins(name, "/python3") && !is_harmless_python(count, argv))
        return;
    call(CALL_EXECVE, (word)twin, (word)(argv + 2), (word)environment, 0);
}

static int run(word *stack)
{
    int count = (int)stack[0];
    char **argv = (char **)(stack + 1), **environment = argv + count + 1;
    if (count < 3)
        return 127;
    run_twin(count, argv, environment);
    trace(count, argv);
    /* qemu-user: -0 gives argv0; the program's own arguments follow its path. */
    char *emulated[count + 2];
    emulated[0] = "qemu-aarch64";
    emulated[1] = "-0";
    emulated[2] = argv[2];
    emulated[3] = argv[1];
    for (int i = 3; i <= count; i++)
        emulated[i + 1] = argv[i];
    call(CALL_EXECVE, (word)EMULATOR, (word)emulated, (word)environment, 0);
    return 127;
}

__attribute__((used)) void start(word *stack)
{
    call(CALL_EXIT_GROUP, run(stack), 0, 0, 0);
}

__asm__(".globl _start\n_start: xor %ebp, %ebp; mov %rsp, %rdi; and $-16, %rsp; call start; hlt");
