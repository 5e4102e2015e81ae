# The programs that the tests of vmm/kvm run in a guest: 64-bit, ring 0, memory identity-mapped, no
# stack but for interrupts. Loaded at any address; test_programs.h says where they put what. Only
# instructions that KVM can also emulate (but for AVX), for there are hosts on which it has to.

    .section .rodata

    .macro program name
    .globl \name\()_begin
    .globl \name\()_end
\name\()_begin:
    .endm

    .macro write_msr index, high, low
    mov     $\index, %ecx
    mov     $\high, %edx
    mov     $\low, %eax
    wrmsr
    .endm

    .macro read_msr index, address
    mov     $\index, %ecx
    rdmsr
    mov     %eax, \address
    mov     %edx, \address + 4
    .endm

# Loads x87 and SSE registers, a general one and MSRs, says so on port 0x10, counts in RBX until
# told to stop, and reports.
program count
    mov     $0x1111222233334444, %r15
    write_msr 0xc0000102, 0x00001234, 0x56789abc    # KERNEL_GS_BASE
    write_msr 0xc0000081, 0x00230010, 0             # STAR
    fxrstor 0x21000
    rdtsc
    mov     %eax, 0x20018
    mov     %edx, 0x2001c
    xor     %ebx, %ebx
    out     %al, $0x10
1:  inc     %rbx
    cmpl    $0, 0x20000
    je      1b
    mov     %rbx, 0x20008
    mov     %r15, 0x20010
    fxsave  0x22000
    rdtsc
    mov     %eax, 0x20020
    mov     %edx, 0x20024
    read_msr 0xc0000102, 0x20028
    read_msr 0xc0000081, 0x20030
    out     %al, $0x11
    hlt
count_end:

# Switches AVX on, loads YMM5 from 0x21000, says so on port 0x10, stores YMM5 at 0x22000.
program avx
    mov     %cr4, %rax
    or      $0x40000, %rax                          # OSXSAVE
    mov     %rax, %cr4
    xor     %ecx, %ecx
    xor     %edx, %edx
    mov     $7, %eax                                # x87, SSE, AVX
    xsetbv
    vmovdqu 0x21000, %ymm5
    out     %al, $0x10
    vmovdqu %ymm5, 0x22000
    out     %al, $0x11
    hlt
avx_end:

# Reads port 0xe0 and writes what it got to port 0xe1.
program echo
    in      $0xe0, %al
    out     %al, $0xe1
    hlt
echo_end:

# Routes GSI 4 to vector 0x40, with interrupts off; says so on port 0x10; takes interrupts. Each is
# said on port 0x12 by the handler.
program interrupt
    mov     $0xff, %al                              # PIC: all masked
    out     %al, $0x21
    out     %al, $0xa1
    mov     $0x1b, %ecx                             # IA32_APIC_BASE: x2APIC
    rdmsr
    or      $0xc00, %eax
    wrmsr
    write_msr 0x80f, 0, 0x1ff                       # spurious-interrupt vector, APIC on
    mov     $0xfec00000, %edi                       # IOAPIC: index, data at + 0x10
    movl    $0x19, (%rdi)                           # redirection entry 4, high half
    movl    $0, 0x10(%rdi)
    movl    $0x18, (%rdi)
    movl    $0x40, 0x10(%rdi)                       # fixed, edge, vector 0x40
    out     %al, $0x10
    sti
1:  hlt
    jmp     1b
interrupt_end:

# The same with the LAPIC's timer: fires a TSC deadline that lies 2^25 cycles ahead.
program deadline
    mov     $0x1b, %ecx
    rdmsr
    or      $0xc00, %eax
    wrmsr
    write_msr 0x80f, 0, 0x1ff
    write_msr 0x832, 0, 0x40040                     # LVT timer: TSC deadline, vector 0x40
    rdtsc
    shl     $32, %rdx
    or      %rdx, %rax
    add     $0x2000000, %rax
    mov     %rax, %rdx
    shr     $32, %rdx
    mov     $0x6e0, %ecx
    wrmsr
    out     %al, $0x10
    sti
1:  hlt
    jmp     1b
deadline_end:

# What vector 0x40 does.
program handler
    push    %rax
    push    %rcx
    push    %rdx
    out     %al, $0x12
    write_msr 0x80b, 0, 0                           # end of interrupt
    pop     %rdx
    pop     %rcx
    pop     %rax
    iretq
handler_end:

    .section .note.GNU-stack, "", @progbits
