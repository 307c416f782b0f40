/** What a process holds: released last in, first out, also after a half-failed start. */
export interface Scope {
  /** Takes charge of a resource and returns it. */
  own<T extends Releasable>(resource: T): T
  /** Adds a step to the release. */
  onRelease(name: string, release: () => unknown): void
  release(): Promise<void>
}

export type Releasable = { close(): unknown } | AsyncDisposable | Disposable

/** `onFailure` hears of releases that fail; the others go on. */
export function createScope(onFailure: (name: string, error: unknown) => void): Scope {
  const releases: { name: string; release: () => unknown }[] = []
  return {
    own(resource) {
      releases.push({ name: resource.constructor.name, release: () => releaseOf(resource) })
      return resource
    },
    onRelease(name, release) {
      releases.push({ name, release })
    },
    async release() {
      for (let step = releases.pop(); step; step = releases.pop()) {
        try {
          await step.release()
        } catch (error) {
          onFailure(step.name, error)
        }
      }
    },
  }
}

function releaseOf(resource: Releasable): unknown {
  if ('close' in resource) return resource.close()
  return Symbol.asyncDispose in resource ? resource[Symbol.asyncDispose]() : resource[Symbol.dispose]()
}
