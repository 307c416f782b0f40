import { ServiceBroker } from 'moleculer'

/** Moleculer over its own TCP transporter (JSON, not gRPC); discovery by address, so that nothing is broadcast. */
export const createBroker = (nodeID: string, port: number, peer: string): ServiceBroker =>
  new ServiceBroker({
    nodeID,
    logger: false,
    transporter: {
      type: 'TCP',
      options: { udpDiscovery: false, port, urls: `127.0.0.1:${port}/${nodeID},${peer}` },
    },
  })
