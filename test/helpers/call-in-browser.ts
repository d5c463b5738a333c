import type { Page } from 'playwright-core';

/** As browsers take it: RTCIceServer. */
export interface IceServer {
  readonly urls: readonly string[];
  readonly username: string;
  readonly credential: string;
}

/** What one side of a call has got from the other; all of it only grows. */
export interface Received {
  readonly audioBytes: number;
  /** Of what was heard, in the unit of getStats: 0 is silence. */
  readonly audioEnergy: number;
  readonly videoBytes: number;
  readonly framesDecoded: number;
}

/** One side of a call, as its own getStats tells it. */
export interface Side {
  /** RTCPeerConnectionState. */
  readonly state: string;
  /** Types of the candidates it found, without repetition: `relay` only. */
  readonly found: readonly string[];
  /** The pair of candidates in use; null when there is none. */
  readonly pair: {
    readonly local: string;
    readonly remote: string;
    /** How it reaches its relay: `udp`, `tcp`, `tls`. */
    readonly relayProtocol: string;
    /** Addresses of the two ends, with the port. */
    readonly ends: readonly [string, string];
  } | null;
  /** When the first picture and the first sound were there, and later. */
  readonly received: readonly [Received, Received] | null;
  /** Status of STUN (RFC 8489, 14.8) each relay refused it with. */
  readonly errors: readonly number[];
}

/** Much less than a beep of the fake microphone, much more than the noise that fills a silence. */
export const BEEP = 0.01;

/** Runs in the page; as text, since Node has no such types. */
const CALL = `async (iceServers, frames, patience) => {
  const sides = [];
  for (const name of ['one', 'two']) {
    const connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' });
    const side = { name, connection, found: new Set(), errors: new Set(), media: null, gathered: false };
    side.media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240 } });
    for (const track of side.media.getTracks()) connection.addTrack(track, side.media);
    // Sound and pictures are decoded for somebody who hears and sees them.
    connection.addEventListener('track', ({ track, streams: [stream] }) => {
      if (track.kind !== 'video') return;
      const shown = Object.assign(document.createElement('video'), { srcObject: stream, autoplay: true });
      document.body.append(shown);
      void shown.play().catch(() => undefined);
    });
    connection.addEventListener('icecandidateerror', ({ errorCode }) => side.errors.add(errorCode));
    sides.push(side);
  }
  const [one, two] = sides;
  for (const [from, to] of [[one, two], [two, one]]) {
    const early = [];
    from.connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate === null) from.gathered = true;
      else {
        if (candidate.candidate !== '') from.found.add(candidate.type);
        if (to.connection.remoteDescription) void to.connection.addIceCandidate(candidate);
        else early.push(candidate);
      }
    });
    to.late = () => Promise.all(early.map((candidate) => to.connection.addIceCandidate(candidate)));
  }
  await one.connection.setLocalDescription();
  await two.connection.setRemoteDescription(one.connection.localDescription);
  await two.late();
  await two.connection.setLocalDescription();
  await one.connection.setRemoteDescription(two.connection.localDescription);
  await one.late();

  const received = async ({ connection }) => {
    const got = { audioBytes: 0, audioEnergy: 0, videoBytes: 0, framesDecoded: 0 };
    for (const one of (await connection.getStats()).values()) {
      if (one.type !== 'inbound-rtp') continue;
      if (one.kind === 'audio') {
        got.audioBytes += one.bytesReceived;
        got.audioEnergy += one.totalAudioEnergy ?? 0;
      } else {
        got.videoBytes += one.bytesReceived;
        got.framesDecoded += one.framesDecoded ?? 0;
      }
    }
    return got;
  };
  const until = async (test) => {
    for (const end = Date.now() + patience; Date.now() < end; await new Promise((done) => setTimeout(done, 250)))
      if (await test()) return true;
    return false;
  };
  const every = async (test) => (await Promise.all(sides.map(test))).every(Boolean);
  const hopeless = () => sides.every(({ gathered, found }) => gathered && found.size === 0);
  await until(() => hopeless() || sides.every(({ connection }) => connection.connectionState === 'connected'));
  if (!hopeless()) {
    await until(() => every(async (side) => {
      const got = await received(side);
      return got.framesDecoded > 0 && got.audioBytes > 0;
    }));
    for (const side of sides) side.first = await received(side);
    await until(() => every(async (side) => {
      const got = await received(side);
      return got.framesDecoded >= side.first.framesDecoded + frames && got.audioEnergy > side.first.audioEnergy + ${BEEP};
    }));
  }

  const answer = [];
  for (const side of sides) {
    const stats = await side.connection.getStats();
    const transport = [...stats.values()].find(({ type }) => type === 'transport');
    const pair = stats.get(transport?.selectedCandidatePairId);
    const local = stats.get(pair?.localCandidateId);
    const remote = stats.get(pair?.remoteCandidateId);
    answer.push({
      state: side.connection.connectionState,
      found: [...side.found],
      pair: local && remote
        ? {
            local: local.candidateType,
            remote: remote.candidateType,
            relayProtocol: local.relayProtocol,
            ends: [local, remote].map(({ address, port }) => address + ':' + port),
          }
        : null,
      received: side.first ? [side.first, await received(side)] : null,
      errors: [...side.errors],
    });
  }
  for (const { connection, media } of sides) {
    connection.close();
    for (const track of media.getTracks()) track.stop();
  }
  for (const shown of document.querySelectorAll('video')) shown.remove();
  return answer;
}`;

/**
 * A call with voice and video between two ends in `page` (of a secure origin, in a Chromium with fake devices), which may reach
 * one another through the relays of `iceServers` only (iceTransportPolicy `relay`); each has an allocation of its own.
 * Ends when both have decoded `frames` more pictures and heard more sound than at first, when no relay takes them, or when one of
 * its steps takes longer than `patienceMs`; whether it was a call is for the caller to judge.
 */
export async function callThroughRelay(
  page: Page,
  iceServers: readonly IceServer[],
  { frames = 100, patienceMs = 90_000 } = {},
): Promise<readonly [Side, Side]> {
  const words = [iceServers, frames, patienceMs].map((word) => JSON.stringify(word)).join(', ');
  return page.evaluate<readonly [Side, Side]>(`(${CALL})(${words})`);
}
