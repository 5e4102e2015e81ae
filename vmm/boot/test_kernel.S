# The guest of TestKernel(), which says what it does. 32-bit protected mode without paging, entered
# by PVH. ESI holds what is left of its command line.
# Only instructions that KVM can also emulate, for there are hosts on which it has to.

    .set com1,          0x3f8
    .set line_status,   0x3fd
    .set lapic,         0xfee00000

# test_kernel.h has these too, but for ap_program.
    .set entry,         0x200010
    .set counter,       0x300100
    .set null_idt,      0x300200
    .set bulk_data,     0x400000
    .set bulk_size,     0x4000
    .set bulk_copy,     0x500000
    .set ap_counters,   0x8f00              # the first is the number of APs that have started
    .set ap_program,    0x8000

    .section .rodata
    .code32

    .globl test_kernel_begin
    .globl test_kernel_end
test_kernel_begin:
    mov     24(%ebx), %esi                  # hvm_start_info.cmdline_paddr
    mov     $com1, %edx
    mov     $'u', %al
    outb    %al, %dx
    mov     $'p', %al
    outb    %al, %dx
    mov     $'\n', %al
    outb    %al, %dx

count:
    mov     $500, %ecx
1:  incl    counter
    loop    1b

    cmpb    $0, (%esi)
    je      2f
    lodsb
    jmp     obey
2:  mov     $line_status, %edx
    inb     %dx, %al
    testb   $1, %al
    jz      count
    mov     $com1, %edx
    inb     %dx, %al

obey:
    mov     $com1, %edx
    cmpb    $'o', %al
    je      power_off
    cmpb    $'r', %al
    je      reset
    cmpb    $'k', %al
    je      keyboard_reset
    cmpb    $'t', %al
    je      triple_fault
    cmpb    $'b', %al
    je      bulk_out
    cmpb    $'i', %al
    je      bulk_in
    cmpb    $'m', %al
    je      stray_accesses
    cmpb    $'a', %al
    je      start_aps
    cmpb    $'h', %al
    je      halt
echo:
    mov     $com1, %edx
    outb    %al, %dx
    jmp     count

power_off:
    mov     $0x604, %edx
    mov     $0x3400, %eax                   # SLP_TYP 5, SLP_EN
    outw    %ax, %dx
    jmp     halt

reset:
    mov     $0xcf9, %edx
    mov     $6, %al
    outb    %al, %dx
    jmp     halt

keyboard_reset:
    mov     $0xfe, %al
    outb    %al, $0x64
    jmp     halt

triple_fault:
    lidtl   null_idt
    ud2

halt:
    cli
    hlt
    jmp     halt

bulk_out:
    mov     %esi, %ebp
    mov     $bulk_data, %esi
    mov     $bulk_size, %ecx
    cld
    rep outsb
    mov     %ebp, %esi
    jmp     count

# From a port that nobody answers.
bulk_in:
    mov     $bulk_copy, %edi
    mov     $bulk_size, %ecx
    mov     $0x500, %edx
    cld
    rep insb
    mov     $'i', %al
    jmp     echo

# Writes and reads where there is neither RAM nor a device; 'm' when it read all ones.
stray_accesses:
    movl    $0x12345678, 0xd0000000
    cmpl    $-1, 0xd0000000
    jne     echo_failure
    mov     $'m', %al
    jmp     echo
echo_failure:
    mov     $'?', %al
    jmp     echo

# INIT and start-up interrupts to all others (Intel SDM 3A, 11.6.1).
start_aps:
    mov     %esi, %ebp
    mov     $(entry + ap_begin - test_kernel_begin), %esi
    mov     $ap_program, %edi
    mov     $(ap_end - ap_begin), %ecx
    cld
    rep movsb
    mov     %ebp, %esi
    movl    $0x1ff, lapic + 0xf0            # spurious-interrupt vector, APIC on
    movl    $0xc4500, lapic + 0x300
    movl    $(0xc4600 + (ap_program >> 12)), lapic + 0x300
    jmp     count

    .code16
ap_begin:
    mov     $1, %eax
    lock xaddl %eax, ap_counters
    mov     %ax, %bx
    shl     $2, %bx
1:  incl    ap_counters + 4(%bx)
    jmp     1b
ap_end:
    .code32

test_kernel_end:

    .section .note.GNU-stack, "", @progbits
