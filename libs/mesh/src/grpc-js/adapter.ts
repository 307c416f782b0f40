/**
 * The target `mesh:///<service>` for channels of @grpc/grpc-js: a resolver, a load-balancing policy, and a config selector
 * that follows each call. Written against 1.14.7. `grpc.experimental` may change in any minor version: nothing outside
 * this file uses it, and `adapter.test.ts` fails when something that this file relies on is gone.
 */
import {
  isMetadataTooLarge,
  type Method,
  metadataTooLarge,
  RpcError,
  rpcError,
  toGrpcStatus,
} from '@docmesh/rpc'
import * as grpc from '@grpc/grpc-js'
import { isDocmesh, isRepeatable, isUnary } from './contract.ts'
import { type Hedging, type SentRequest, sendMirrored, withCopies } from './copies.ts'
import { injectFault } from './fault.ts'
import { type Link, type LinkState, openLink } from './link.ts'
import { errorOf } from './subchannel-call.ts'
import { createTargetCall, type Reach, type Sending, type TargetCall } from './target-call.ts'
import type { TargetService } from './target-service.ts'
import { withRepeats } from './unbroken.ts'

const { experimental } = grpc
const { COMPLETE, DROP, QUEUE, TRANSIENT_FAILURE } = experimental.PickResultType
const State = grpc.connectivityState

type Subchannel = grpc.experimental.SubchannelInterface
type PickInfo = grpc.experimental.PickArgs['extraPickInfo']
type CallConfig = ReturnType<grpc.experimental.ConfigSelector['invoke']>

/** Where services are found. */
export interface MeshDirectory {
  /** Tells what is known of a service, soon and at each change, until the answer is called. */
  follow(service: string, listener: (found: TargetService | RpcError) => void): () => void
  methodAt(path: string): Method
  readonly unaryTimeoutMs: number
  readonly connectTimeoutMs: number
  /** Paths of the methods of which a late call is sent a second time. */
  readonly hedged: ReadonlySet<string>
}

const SCHEME = 'mesh'
const POLICY = 'docmesh_mesh'
const now = (): number => performance.now()

const SERVICE_NAME = /^[a-z0-9-]{1,63}$/

/** Attribute of a resolution. The prefix keeps it out of the arguments that subchannels are compared by. */
const TARGET = `${experimental.SUBCHANNEL_ARGS_EXCLUDE_KEY_PREFIX}.docmesh_target`

/** Where the picker finds the call for which it chooses. */
const CALL = Symbol('call')

const CONNECTION_OPTIONS: grpc.ChannelOptions = {
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
}

/** gRFC A6. The throttle of grpc-js is left out: the budget is that of the mesh. */
const RETRY_POLICY = {
  maxAttempts: 3,
  initialBackoff: '0.025s',
  maxBackoff: '0.25s',
  backoffMultiplier: 2,
  retryableStatusCodes: [grpc.status.UNAVAILABLE],
}
const SERVICE_CONFIG = { loadBalancingConfig: [{ [POLICY]: {} }], methodConfig: [] }

let isRegistered = false
let currentDirectory: MeshDirectory | undefined

/** grpc-js takes a scheme for the whole process and never forgets it; what the scheme means can be replaced. */
export function useDirectory(directory: MeshDirectory | undefined): void {
  currentDirectory = directory
  if (isRegistered) return
  isRegistered = true
  experimental.registerLoadBalancerType(POLICY, MeshBalancer, MeshBalancerConfig)
  experimental.registerResolver(SCHEME, MeshResolver)
}

class MeshResolver implements grpc.experimental.Resolver {
  readonly #service: string
  readonly #listener: grpc.experimental.ResolverListener
  #stop: (() => void) | undefined
  #pushed: string | undefined

  constructor(target: grpc.experimental.GrpcUri, listener: grpc.experimental.ResolverListener) {
    this.#service = MeshResolver.getDefaultAuthority(target)
    this.#listener = listener
  }

  static getDefaultAuthority({ path }: grpc.experimental.GrpcUri): string {
    if (!SERVICE_NAME.test(path))
      throw new Error(`mesh:///${path} names no service; write it like mesh:///document`)
    return path
  }

  updateResolution(): void {
    this.#stop ??= this.#follow()
  }

  destroy(): void {
    this.#stop?.()
    this.#stop = undefined
    this.#pushed = undefined
  }

  #follow(): () => void {
    const directory = currentDirectory
    if (directory)
      return directory.follow(this.#service, (found) => {
        if (found instanceof RpcError) this.#fail(found)
        else this.#push(directory, found)
      })
    const soon = setImmediate(() => this.#fail(rpcError('NO_ENDPOINT', 'The mesh target is not installed.')))
    return () => clearImmediate(soon)
  }

  /** Only what has changed: the channel asks again for what it is given, and would do so for ever. */
  #push(directory: MeshDirectory, service: TargetService): void {
    const open = service.endpoints.list().filter(({ state }) => state !== 'draining')
    const addresses = new Map(open.map(({ endpoint }) => [endpoint.instanceId, endpoint.address]))
    const inUse = new Set(open.filter((view) => view.inUse).map(({ endpoint }) => endpoint.instanceId))
    const key = JSON.stringify([...addresses].map(([id, address]) => [id, address, inUse.has(id)]))
    if (key === this.#pushed) return
    this.#pushed = key
    const target: Target = { directory, service, addresses, inUse }
    this.#listener(
      experimental.statusOrFromValue([]), // the list has no room for instance ids
      {
        [TARGET]: target,
        [experimental.CHANNEL_ARGS_CONFIG_SELECTOR_KEY]: configSelector(target),
      },
      experimental.statusOrFromValue(SERVICE_CONFIG),
      '',
    )
  }

  /** Without a service configuration the channel fails calls with the error, or keeps those that wait for ready. */
  #fail(error: RpcError): void {
    const status = toGrpcStatus(error)
    this.#listener(experimental.statusOrFromError(status), {}, experimental.statusOrFromError(status), '')
  }
}

interface Target {
  readonly directory: MeshDirectory
  readonly service: TargetService
  /** Of all that take calls, by instance id. */
  readonly addresses: ReadonlyMap<string, string>
  /** Those that are connected to ahead of calls. */
  readonly inUse: ReadonlySet<string>
}

interface OpenLink {
  readonly address: string
  readonly link: Link<Subchannel>
  /** Opened for a call: one whose key belongs there, or that came before the news that the subset has changed. */
  readonly isLate: boolean
}

/** A call as the picker meets it. */
interface Picked {
  readonly call: TargetCall
  readonly service: TargetService
  readonly isHedged: boolean
  isMirrored: boolean
  /** What the last attempt ended with. */
  last: grpc.StatusObject | null
}

function configSelector({ directory, service }: Target): grpc.experimental.ConfigSelector {
  const { methodAt, unaryTimeoutMs, hedged } = directory
  const timeout = { seconds: Math.floor(unaryTimeoutMs / 1_000), nanos: (unaryTimeoutMs % 1_000) * 1e6 }
  return {
    invoke(path, metadata): CallConfig {
      const method = methodAt(path)
      const headers = metadata.getMap()
      const route = service.policy().route(method, headers, Math.random)
      const call = createTargetCall(service, { method, route, now })
      const isTooLarge = isDocmesh(method) && isMetadataTooLarge(headers)
      const picked: Picked = { call, service, isHedged: hedged.has(path), isMirrored: false, last: null }
      return {
        methodConfig: {
          name: [],
          ...(isUnary(method) && { timeout }),
          ...(isRepeatable(method) && { retryPolicy: RETRY_POLICY }),
        },
        pickInformation: { [CALL]: picked } as unknown as PickInfo,
        status: grpc.status.OK,
        dynamicFilterFactories: [{ createFilter: () => callFilter(service, call, isTooLarge) }],
      }
    },
    unref() {},
  }
}

/** The only place where grpc-js says that a call is over, sent or not. */
const callFilter = (
  service: TargetService,
  call: TargetCall,
  isTooLarge: boolean,
): grpc.experimental.Filter => ({
  sendMetadata(metadata) {
    if (isTooLarge) return Promise.reject(toGrpcStatus(metadataTooLarge()))
    const { delayMs, abortCode } = call.route
    if (delayMs === undefined && abortCode === undefined) return metadata
    return injectFault(service, call).then(() => metadata)
  },
  receiveMetadata(metadata) {
    call.answered()
    return metadata
  },
  sendMessage: (message) => message,
  receiveMessage: (message) => message,
  receiveTrailers(status) {
    call.end(status.code)
    return status
  },
})

class MeshBalancerConfig implements grpc.experimental.TypedLoadBalancingConfig {
  static createFromJson(): MeshBalancerConfig {
    return new MeshBalancerConfig()
  }
  getLoadBalancerName(): string {
    return POLICY
  }
  toJsonObject(): object {
    return { [POLICY]: {} }
  }
}

class MeshBalancer implements grpc.experimental.LoadBalancer {
  readonly #helper: grpc.experimental.ChannelControlHelper
  readonly #links = new Map<string, OpenLink>()
  /** For unary calls that may be sent again, and for all others. */
  readonly #ready = new Map<string, { readonly repeating: Subchannel; readonly plain: Subchannel }>()
  readonly #notReady = new Set<string>()
  readonly #reach: Reach = {
    stateOf: (instanceId) =>
      (this.#links.get(instanceId) ?? this.#connectLate(instanceId))?.link.state().kind,
    notReady: this.#notReady,
  }
  #latest: { readonly target: Target; readonly options: grpc.ChannelOptions } | undefined
  readonly #closing = new AbortController()
  #isUpdating = false

  constructor(helper: grpc.experimental.ChannelControlHelper) {
    this.#helper = helper
  }

  updateAddressList(
    _endpoints: grpc.experimental.StatusOr<grpc.experimental.Endpoint[]>,
    _config: grpc.experimental.TypedLoadBalancingConfig,
    options: grpc.ChannelOptions,
  ): boolean {
    const target = options[TARGET] as Target
    this.#latest = { target, options }
    this.#isUpdating = true
    for (const [id, { address, link, isLate }] of this.#links) {
      if (target.addresses.get(id) === address && (isLate || target.inUse.has(id))) continue
      this.#links.delete(id)
      link.close()
    }
    for (const id of target.inUse) if (!this.#links.has(id)) this.#connect(id, false)
    this.#isUpdating = false
    this.#report()
    return true
  }

  #connectLate(id: string): OpenLink | undefined {
    const opened = this.#connect(id, true)
    if (opened) this.#sort(id, opened)
    return opened
  }

  #connect(id: string, isLate: boolean): OpenLink | undefined {
    const { target, options } = this.#latest ?? {}
    const address = target?.addresses.get(id)
    const where = address === undefined ? null : experimental.splitHostPort(address)
    if (!target || address === undefined || where?.port === undefined) return undefined // not to be dialled
    const { directory, service } = target
    const { host, port } = where
    const { [experimental.CHANNEL_ARGS_CONFIG_SELECTOR_KEY]: _, ...own } = options ?? {}
    let turn = 0
    const link = openLink<Subchannel>({
      // Subchannels with equal arguments are one subchannel: the number asks for another.
      open: () =>
        this.#helper.createSubchannel(
          { host, port },
          { ...CONNECTION_OPTIONS, ...own, 'docmesh.turn': turn++ },
        ),
      connectTimeoutMs: directory.connectTimeoutMs,
      onState: () => this.#report(),
      onHealth: (healthy) => service.endpoints.setClientHealth(id, healthy, this),
      onDiscard: service.count.discarded,
    })
    const opened = { address, link, isLate }
    this.#links.set(id, opened)
    return opened
  }

  #report(): void {
    if (this.#isUpdating) return
    this.#ready.clear()
    this.#notReady.clear()
    let isConnecting = false
    let lastError = ''
    for (const [id, opened] of this.#links) {
      const state = this.#sort(id, opened)
      if (state.kind === 'connecting') isConnecting = true
      if (state.kind === 'failed') lastError = state.error
    }
    if (this.#ready.size > 0) this.#helper.updateState(State.READY, this, null)
    else if (isConnecting) this.#helper.updateState(State.CONNECTING, this, null)
    else this.#helper.updateState(State.TRANSIENT_FAILURE, this, lastError)
  }

  /** A call whose key belongs to an instance that was not connected to ahead waits for it, as other clients do. */
  #sort(id: string, { link, isLate }: OpenLink): LinkState<Subchannel> {
    const state = link.state()
    if (state.kind === 'ready')
      this.#ready.set(id, { plain: state.subchannel, repeating: withRepeats(state.subchannel) })
    else if (state.kind === 'failed' || !isLate) this.#notReady.add(id)
    return state
  }

  /** Called for each attempt; what waits is asked about again whenever the state is reported. */
  pick({ extraPickInfo }: grpc.experimental.PickArgs): grpc.experimental.PickResult {
    const picked = (extraPickInfo as unknown as { readonly [CALL]: Picked })[CALL]
    const turn = picked.call.next(this.#reach)
    if (turn.kind === 'give up') return unsent(DROP, picked.last)
    if (turn.kind === 'refuse') {
      // The client asks again for an instance that may come, never against what the mesh has decided.
      const isFinal = turn.error.reason !== 'NO_ENDPOINT'
      return unsent(isFinal ? DROP : TRANSIENT_FAILURE, toGrpcStatus(turn.error))
    }
    if (turn.kind === 'wait') return unsent(QUEUE)
    if (turn.kind === 'unreachable') {
      const state = this.#links.get(turn.instanceId)?.link.state()
      const text = `No connection established to any instance: ${state?.kind === 'failed' ? state.error : ''}`
      return unsent(TRANSIENT_FAILURE, toGrpcStatus(rpcError('NO_ENDPOINT', text)))
    }
    const { attempt } = turn
    return {
      pickResultType: COMPLETE,
      subchannel: this.#subchannelFor(picked, turn),
      status: null,
      onCallStarted: attempt.started,
      onCallEnded(code, details, metadata) {
        picked.last = { code, details, metadata }
        attempt.ended(errorOf(picked.last))
      },
    }
  }

  #subchannelFor(picked: Picked, { instanceId, attempt }: Sending): Subchannel | null {
    const { call, isHedged, isMirrored } = picked
    const ready = this.#ready.get(instanceId)
    if (!ready) return null
    if (!isUnary(call.method) || !isRepeatable(call.method)) return ready.plain
    const { mirrorVersion } = call.route
    const isCopied = mirrorVersion !== undefined && !isMirrored
    if (!isHedged && !isCopied) return ready.repeating
    return withCopies(ready.plain, {
      attempt,
      hedging: isHedged ? this.#hedging(picked) : undefined,
      mirror: isCopied ? (request) => this.#mirror(picked, mirrorVersion, request) : undefined,
    })
  }

  #hedging({ call, service }: Picked): Hedging {
    const { hedgeDelays, count } = service
    return {
      delayMs: hedgeDelays.delayMs(call.method),
      now,
      copy: () => {
        const copy = call.copy(this.#reach)
        const ready = copy && this.#ready.get(copy.instanceId)
        return ready && { ...copy, subchannel: ready.plain }
      },
      onCopyEnded: count.hedged,
      onAnswered: (ms) => hedgeDelays.record(call.method, ms),
    }
  }

  /** Once for a call, however often it is sent. */
  #mirror(picked: Picked, version: string, request: SentRequest): void {
    picked.isMirrored = true
    const { call, service } = picked
    const options = { version, avoid: this.#notReady }
    service.mirror.copy(call.method, options, ({ instanceId }) => {
      const ready = this.#ready.get(instanceId)
      return ready && sendMirrored(ready.plain, request, this.#closing.signal)
    })
  }

  exitIdle(): void {} // it is never idle
  resetBackoff(): void {}

  destroy(): void {
    this.#closing.abort()
    this.#latest = undefined
    for (const { link } of this.#links.values()) link.close()
    this.#links.clear()
  }

  getTypeName(): string {
    return POLICY
  }
}

const unsent = (
  pickResultType: grpc.experimental.PickResultType,
  status: grpc.StatusObject | null = null,
): grpc.experimental.PickResult => ({
  pickResultType,
  subchannel: null,
  status,
  onCallStarted: null,
  onCallEnded: null,
})
