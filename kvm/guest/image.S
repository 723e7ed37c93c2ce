// The payload as bytes of this program.
    .section .rodata, "a", @progbits
    .globl godwit_payload_begin
    .globl godwit_payload_end
    .balign 16
godwit_payload_begin:
    .incbin GODWIT_PAYLOAD_PATH
godwit_payload_end:
    .section .note.GNU-stack, "", @progbits
