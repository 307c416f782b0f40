/** Set on globalThis by `register.ts`, which runs as a module graph of its own before main. */
export const HOOKED = Symbol.for('docmesh.telemetry.register')
