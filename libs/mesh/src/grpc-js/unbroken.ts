import { type PickedSubchannel, realOf, tell, wholeAnswer, withCreateCall } from './subchannel-call.ts'

/** A subchannel that lets grpc-js repeat a unary call whose connection breaks at any moment before its end. */
export function withRepeats<S extends PickedSubchannel>(subchannel: S): S {
  const real = realOf(subchannel)
  return withCreateCall(subchannel, (metadata, host, method, listener, id) =>
    real.createCall(
      metadata,
      host,
      method,
      wholeAnswer((answer) => tell(listener, answer)),
      id,
    ),
  )
}
